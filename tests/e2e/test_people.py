"""Invitations, membership and removal as other users see them."""

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import Open
from tests.e2e.page_monitor import PageMonitor
from tests.e2e.room_page import RoomPage
from tests.e2e.server import Server
from tests.live import PopulatedRoom
from tests.provider import Provider

UNKNOWN = "01890000-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
def room(server: Server) -> PopulatedRoom:
    return server.populate(1, 2, "held-30@40")[0]


def invitation_made_by(page: Page, server: Server, room: PopulatedRoom) -> str:
    """Create an invitation link and return it."""
    page.goto(server.address(room))
    page.locator(".sidebar-team").click()
    page.get_by_role("link", name="Members and invitations").click()
    page.get_by_role("link", name="Invite people").click()
    page.get_by_role("button", name="Create the invitation").click()
    return page.get_by_label("Invitation link").input_value()


def sign_up(page: Page, link: str, name: str) -> None:
    """Sign up through an invitation."""
    page.goto(link)
    page.get_by_role("link", name="Create an account").click()
    page.get_by_label("Name").fill(name)
    page.get_by_label("Email").fill("hayun@example.com")
    page.get_by_label("Password").fill("persimmons on the sill")
    page.get_by_role("button", name="Create the account").click()
    page.get_by_role("button", name=f"Join as {name}").click()


def let_in(page: Page, name: str) -> None:
    """Add a team member in the settings of the open room."""
    page.get_by_role("button", name="More actions for").click()
    page.get_by_role("link", name="Room settings").click()
    people = page.locator("#people")
    people.get_by_role("group", name="Members of the team").get_by_label(name).check()
    people.get_by_role("button", name="Add").click()
    expect(people.get_by_role("listitem").filter(has_text=name)).to_be_in_viewport()


def test_invited_users_sign_up_and_see_the_same_streaming_answer(
    server: Server,
    provider: Provider,
    room: PopulatedRoom,
    sign_in: Open,
    open_browser: Open,
    monitor: PageMonitor,
) -> None:
    owner = sign_in(room.members[0])
    guest = open_browser()
    link = invitation_made_by(owner, server, room)

    sign_up(guest, link, "Hayun Kim")  # this team has no room for everyone
    expect(guest.get_by_text("You are not in a room yet")).to_be_visible()
    owner.goto(server.address(room))
    let_in(owner, "Hayun Kim")

    owner_page, guest_page = (RoomPage(page, server.address(room)) for page in (owner, guest))
    owner_page.write("Count, please")
    for room_page in (owner_page, guest_page):
        expect(room_page.answer_text).to_have_text(" ".join(f"t{n}" for n in range(30)))
    provider.release()
    texts = [owner_page.ended(), guest_page.ended()]

    assert texts == [" ".join(f"t{n}" for n in range(60))] * 2

    monitor.expect_status(404, "/invitations/")
    late_visitor = open_browser()
    late_visitor.goto(link)
    expect(late_visitor.get_by_role("heading")).to_have_text("This invitation cannot be used")


def test_cancelled_dialog_returns_the_focus_to_its_button(
    server: Server, room: PopulatedRoom, sign_in: Open
) -> None:
    page = sign_in(room.members[0])
    page.goto(f"{server.url}/teams/{room.team}/people/{room.members[1].user}/")
    suspend = page.get_by_role("button", name="Suspend")
    suspend.click()
    expect(page.get_by_role("dialog")).to_be_visible()

    page.keyboard.press("Escape")

    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(suspend).to_be_focused()


def test_finder_adds_people_by_keyboard(server: Server, sign_in: Open) -> None:
    """The page offers eight people; the others are found by the server while words are typed."""
    room = server.populate(1, 10, "echo")[0]
    page = sign_in(room.members[0])
    address = f"{server.url}/teams/{room.team}/rooms/new/"
    ninth = page.request.get(f"{address}people/").json()["items"][8]
    page.goto(address)
    people = page.get_by_role("group", name="Members")
    field = people.get_by_role("combobox", name="Search by name or handle")
    box = people.locator(f"input[value='{ninth['id']}']")
    expect(people.get_by_role("checkbox")).to_have_count(8)
    expect(box).to_have_count(0)

    field.press_sequentially(ninth["note"])
    option = people.get_by_role("option", name=ninth["note"])
    expect(option).to_have_attribute("aria-selected", "true")
    field.press("Enter")

    expect(box).to_be_checked()
    expect(people.get_by_role("status")).to_have_text(f"{ninth['name']} is chosen.")
    expect(field).to_be_focused()
    expect(field).to_have_value("")
    field.press_sequentially("nobody-has-this-name")
    expect(people.get_by_role("status")).to_have_text("Nothing matches.")
    page.get_by_label("Name", exact=True).fill("found")
    page.get_by_role("button", name="Create the room").click()
    expect(page.get_by_role("heading", name="found", exact=True)).to_be_visible()


def test_stranger_sees_the_not_found_page(
    server: Server, room: PopulatedRoom, sign_in: Open, monitor: PageMonitor
) -> None:
    stranger = sign_in(server.populate(1, 1)[0].members[0])
    monitor.expect_status(404, "/rooms/")

    seen = []
    for room_id in (room.id, UNKNOWN):
        answer = stranger.goto(f"{server.url}/rooms/{room_id}/")
        assert answer is not None
        seen.append((answer.status, stranger.locator("html").inner_html()))

    assert seen[0] == seen[1]
    assert seen[0][0] == 404
    expect(stranger.get_by_role("heading")).to_have_text("Page not found")


def test_open_page_of_a_removed_member_shows_the_removal(
    server: Server, sign_in: Open, monitor: PageMonitor
) -> None:
    room = server.populate(1, 2, "echo")[0]
    owner, member = (sign_in(person) for person in room.members)
    member_page = RoomPage(member, server.address(room))
    member_page.write("Something that only this room knows")
    member_page.ended()

    owner.goto(f"{server.address(room)}settings/")
    owner.get_by_role("button", name="Remove").last.click()
    owner.get_by_role("dialog").get_by_role("button", name="Remove").click()

    expect(member_page.line).to_have_text("You no longer have access to this room.")
    expect(member_page.messages).to_have_count(0)
    expect(member_page.field).to_be_hidden()
    expect(member.locator(f".row[data-room-id='{room.id}']")).to_have_count(0)
    assert "only this room knows" not in member.locator("main").inner_text()
    monitor.expect_status(404, f"/rooms/{room.id}/")
    member.reload()
    expect(member.get_by_role("heading")).to_have_text("Page not found")


def test_audit_log_of_a_team_can_be_downloaded(
    server: Server, room: PopulatedRoom, sign_in: Open, monitor: PageMonitor
) -> None:
    owner = sign_in(room.members[0])
    owner.goto(f"{server.url}/teams/{room.team}/audit/")

    with owner.expect_download() as download:
        owner.get_by_role("button", name="CSV").click()

    lines = download.value.path().read_text().splitlines()
    assert download.value.suggested_filename == "maru-audit.csv"
    assert lines[0].startswith("number,created_at,actor")
    assert any("room.created" in line for line in lines)
