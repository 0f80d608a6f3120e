"""Creating a connection and a persona, and asking the persona in a room."""

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import Open
from tests.e2e.room_page import RoomPage
from tests.e2e.server import Server
from tests.live import PopulatedRoom
from tests.provider import Provider

KEY = "sk-the-right-one"
NOT_PUBLIC = (
    "This address is not public. Use a public one, or ask the server's operator to allow it."
)


@pytest.fixture(scope="module")
def room(server: Server) -> PopulatedRoom:
    return server.populate(1, 1)[0]


def check(page: Page) -> str:
    """Press the check button and return the sentence of the result."""
    result = page.locator("[data-check-result]")
    result.evaluate("(place) => place.replaceChildren()")
    page.get_by_role("button", name="Check", exact=True).click()
    expect(result).not_to_be_empty()
    return result.inner_text()


def connect(page: Page, url: str, key: str) -> None:
    """Fill in the form of a connection."""
    page.get_by_label("Address").fill(url)
    page.get_by_label("Key").fill(key)


def test_check_explains_errors_and_fills_in_the_models(
    server: Server, provider: Provider, room: PopulatedRoom, sign_in: Open
) -> None:
    page = sign_in(room.members[0])
    page.goto(f"{server.url}/teams/{room.team}/connections/new/")

    connect(page, "http://127.0.0.1:9/v1", KEY)
    assert check(page) == NOT_PUBLIC
    connect(page, provider.base_url.replace("/v1", "/v2"), KEY)
    assert check(page) == "No API was found at this address. API addresses often end in /v1."
    connect(page, provider.base_url, "refused")
    assert check(page) == "The provider refused this key. Check the key."
    connect(page, provider.base_url, KEY)
    assert check(page) == "The connection works: the provider answered."

    expect(page.locator("[data-check-result]")).to_be_in_viewport()
    assert "echo" in page.get_by_label("Models").input_value().splitlines()


def test_invalid_form_focuses_the_first_error(
    server: Server, room: PopulatedRoom, sign_in: Open
) -> None:
    page = sign_in(room.members[0])
    page.goto(f"{server.url}/teams/{room.team}/connections/new/")
    page.get_by_label("Name").fill("Stub")

    page.get_by_role("button", name="Connect").click()

    expect(page.get_by_text("This field is required.")).to_have_count(2)
    expect(page.get_by_label("Address")).to_be_focused()


def test_persona_on_a_new_connection_answers_a_mention(
    server: Server, provider: Provider, room: PopulatedRoom, sign_in: Open
) -> None:
    page = sign_in(room.members[0])
    page.goto(f"{server.url}/teams/{room.team}/connections/new/")
    page.get_by_label("Name").fill("Stub")
    connect(page, provider.base_url, KEY)
    page.get_by_label("Models").fill("held-20@40\necho")
    page.get_by_role("button", name="Connect").click()
    expect(page.get_by_text("The connection Stub is saved.")).to_be_visible()

    page.goto(f"{server.url}/teams/{room.team}/personas/new/")
    page.get_by_label("Name").fill("Byeori")
    page.get_by_label("Handle").fill("byeori")
    page.get_by_label("Role").fill("Counts")
    page.get_by_label("Goal").fill("Count as far as it goes.")
    page.get_by_label("Model").select_option(label="Stub / held-20@40")
    page.get_by_role("button", name="Create persona").click()
    expect(page.get_by_role("heading", name="Byeori")).to_be_visible()

    page.goto(f"{server.address(room)}settings/")
    page.get_by_role("group", name="Another persona").get_by_label("Byeori").check()
    page.locator("#personas").get_by_role("button", name="Add").click()
    expect(page.locator("#personas").get_by_text("@byeori, Counts")).to_be_visible()

    room_page = RoomPage(page, server.address(room))
    room_page.ask("@byeori count, please")
    expect(room_page.answer_text).to_have_text(" ".join(f"t{n}" for n in range(20)))
    provider.release()
    assert room_page.ended() == " ".join(f"t{n}" for n in range(40))
    expect(room_page.answer.locator("[data-name]")).to_have_text("Byeori")
    assert provider.requests[-1].headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in page.content()
