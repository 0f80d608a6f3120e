"""The pages of user settings and of team settings."""

import re
from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import ApiToken, Invitation, TeamMember, TeamRole
from accounts.services import (
    create_token,
    invite,
    set_team_role,
    suspend_team_member,
    suspend_user,
    user_for_token,
)
from accounts.templatetags.user_agents import device
from tests.accounts.conftest import Cast

pytestmark = pytest.mark.django_db

TEAM_PAGES = ["team", "people"]
OWN_PAGES = ["/me/", "/me/tokens/", "/accounts/email/", "/accounts/password/change/"]
PUBLIC_PAGES = [
    "/accounts/login/",
    "/accounts/signup/",
    "/accounts/password/reset/",
    "/accounts/password/reset/done/",
    "/accounts/password/reset/key/done/",
    "/accounts/password/reset/key/1-wrong/",
    "/accounts/confirm-email/",
    "/accounts/confirm-email/wrong/",
    "/accounts/inactive/",
]

SignIn = Callable[[str], Client]


@pytest.fixture
def as_(cast: Cast) -> SignIn:
    """Return a function that returns a client, signed in as the named user."""

    def sign_in(actor: str) -> Client:
        client = Client()
        if actor not in {"anonymous", "suspended"}:
            client.force_login(cast.named(actor))
        return client

    return sign_in


@pytest.mark.parametrize("page", TEAM_PAGES)
@pytest.mark.parametrize(
    ("actor", "expected"),
    [
        ("owner", 200),
        ("admin", 200),
        ("member", 200),
        ("guest", 200),
        ("nobody", 404),
    ],
)
def test_team_pages_are_accessible_to_members_only(
    cast: Cast, as_: SignIn, page: str, actor: str, expected: int
) -> None:
    answer = as_(actor).get(reverse(f"accounts:{page}", args=[cast.team.pk]))

    assert answer.status_code == expected


@pytest.mark.parametrize(("actor", "sees"), [("owner", True), ("admin", True), ("member", False)])
def test_emails_are_shown_to_members_who_manage_people(
    cast: Cast, as_: SignIn, actor: str, *, sees: bool
) -> None:
    page = as_(actor).get(reverse("accounts:people", args=[cast.team.pk])).content.decode()

    assert cast.guest.name in page
    assert (cast.guest.email in page) is sees
    assert (reverse("rooms:invite_people", args=[cast.team.pk]) in page) is sees


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("path", OWN_PAGES)
def test_settings_page_is_available_in_both_languages(
    cast: Cast, as_: SignIn, path: str, language: str
) -> None:
    answer = as_("member").get(path, headers={"accept-language": language})

    assert answer.status_code == 200
    assert f'<html lang="{language}"' in answer.content.decode()


@pytest.mark.parametrize("path", PUBLIC_PAGES)
def test_public_page_has_the_layout_of_maru(client: Client, db: None, path: str) -> None:
    answer = client.get(path)

    assert answer.status_code == 200
    assert 'class="entry"' in answer.content.decode()


@pytest.mark.parametrize("path", [*OWN_PAGES, *PUBLIC_PAGES])
def test_page_has_nothing_that_the_csp_blocks(cast: Cast, as_: SignIn, path: str) -> None:
    browser = as_("member") if path in OWN_PAGES else as_("anonymous")

    answer = browser.get(path)

    page = answer.content.decode()
    assert not re.search(r"<script(?![^>]*\bsrc=)", page)
    assert not re.search(r"<style|\sstyle=|\son\w+=", page)
    assert "'unsafe" not in answer["Content-Security-Policy"]
    assert answer["Cache-Control"].find("no-store") >= 0


def test_owner_renames_the_team(cast: Cast, as_: SignIn) -> None:
    as_("owner").post(reverse("accounts:team", args=[cast.team.pk]), {"name": "Hangyeol"})

    cast.team.refresh_from_db()
    assert cast.team.name == "Hangyeol"


@pytest.mark.parametrize(("actor", "expected"), [("admin", 403), ("member", 403), ("guest", 403)])
def test_other_members_cannot_rename_the_team(
    cast: Cast, as_: SignIn, actor: str, expected: int
) -> None:
    answer = as_(actor).post(reverse("accounts:team", args=[cast.team.pk]), {"name": "Mine"})

    assert answer.status_code == expected
    cast.team.refresh_from_db()
    assert cast.team.name != "Mine"


def test_invitation_link_is_shown_once(cast: Cast, as_: SignIn) -> None:
    browser = as_("admin")
    people = reverse("accounts:people", args=[cast.team.pk])

    response = browser.post(reverse("rooms:invite_people", args=[cast.team.pk]), {"role": "guest"})
    again = browser.get(people)

    found = re.search(r"/invitations/([\w-]{43})/", response.content.decode())
    assert found
    assert found.group(1) not in again.content.decode()
    assert Client().get(found.group()).status_code == 302
    assert Invitation.objects.get().role == TeamRole.GUEST


@pytest.mark.parametrize(
    ("actor", "role", "expected"),
    [
        ("admin", "owner", 400),
        ("admin", "emperor", 400),
        ("member", "guest", 403),
        ("guest", "guest", 403),
    ],
)
def test_invitation_is_refused(
    cast: Cast, as_: SignIn, actor: str, role: str, expected: int
) -> None:
    answer = as_(actor).post(reverse("rooms:invite_people", args=[cast.team.pk]), {"role": role})

    assert answer.status_code == expected
    assert not Invitation.objects.exists()


def test_invitation_is_revoked_by_its_form(cast: Cast, as_: SignIn) -> None:
    invitation, _token = invite(user=cast.admin, team_id=cast.team.pk)

    as_("owner").post(reverse("accounts:invitation_revoke", args=[cast.team.pk, invitation.pk]))

    assert not Invitation.objects.usable().exists()


def test_role_is_set_by_a_form(cast: Cast, as_: SignIn) -> None:
    as_("admin").post(
        reverse("accounts:set_role", args=[cast.team.pk, cast.guest.pk]), {"role": "member"}
    )

    assert TeamMember.objects.get(user=cast.guest).role == TeamRole.MEMBER


def test_refusal_is_shown_on_the_page(cast: Cast, as_: SignIn) -> None:
    browser = as_("owner")
    own_role = reverse("accounts:set_role", args=[cast.team.pk, cast.owner.pk])

    page = browser.post(own_role, {"role": "guest"}, follow=True)

    assert "needs at least one owner" in page.content.decode()


@pytest.mark.parametrize(
    ("actor", "target", "expected"),
    [
        ("admin", "guest", 302),
        ("guest", "guest", 302),
        ("member", "guest", 302),
        ("admin", "stranger", 404),
    ],
)
def test_member_is_removed_by_its_form(
    cast: Cast, as_: SignIn, actor: str, target: str, expected: int
) -> None:
    path = reverse("accounts:remove", args=[cast.team.pk, cast.named(target).pk])

    answer = as_(actor).post(path)

    assert answer.status_code == expected
    gone = not TeamMember.objects.filter(user=cast.guest, team=cast.team).exists()
    assert gone == (actor in {"admin", "guest"} and target == "guest")


@pytest.mark.parametrize(
    ("actor", "target", "expected"),
    [
        ("owner", "guest", 200),
        ("guest", "owner", 200),
        ("guest", "member", 404),  # guests see owners and admins only
        ("member", "stranger", 404),
        ("nobody", "member", 404),
    ],
)
def test_page_of_a_member_is_shown_to_those_who_see_the_member(
    cast: Cast, as_: SignIn, actor: str, target: str, expected: int
) -> None:
    path = reverse("accounts:member", args=[cast.team.pk, cast.named(target).pk])

    answer = as_(actor).get(path)

    assert answer.status_code == expected
    if expected == 200:
        assert (cast.named(target).email in answer.content.decode()) is (actor == "owner")
        assert ("/suspend/" in answer.content.decode()) is (actor == "owner")


@pytest.mark.parametrize(
    ("actor", "names"), [("member", {"Guest"}), ("guest", {"Guest"}), ("suspended", set())]
)
def test_finder_of_people_returns_the_members_that_the_user_sees(
    cast: Cast, as_: SignIn, actor: str, names: set[str]
) -> None:
    answer = as_(actor).get(reverse("accounts:find_people", args=[cast.team.pk]), {"q": "gu"})

    items = answer.json()["items"] if answer.status_code == 200 else []
    assert {each["name"] for each in items} == names


def test_guest_finds_no_other_member(cast: Cast, as_: SignIn) -> None:
    path = reverse("accounts:find_people", args=[cast.team.pk])

    assert as_("member").get(path, {"q": "mem"}).json()["items"] != []
    assert as_("guest").get(path, {"q": "mem"}).json() == {"items": [], "more": False}


def test_people_page_searches_and_audit_page_finds_the_actor(cast: Cast, as_: SignIn) -> None:
    people = as_("owner").get(reverse("accounts:people", args=[cast.team.pk]), {"q": "guest"})
    audit = as_("owner").get(
        reverse("accounts:audit", args=[cast.team.pk]),
        {"actor_q": "adm", "actor": str(cast.owner.pk)},
    )

    assert cast.guest.email in people.content.decode()
    assert cast.member.email not in people.content.decode()
    offered = re.findall(r'radio" name="actor" value="([^"]*)"( checked)?', audit.content.decode())
    assert offered == [("", ""), (str(cast.owner.pk), " checked"), (str(cast.admin.pk), "")]


def test_profile_form_saves_the_name_and_the_language_cookie(cast: Cast, as_: SignIn) -> None:
    answer = as_("member").post("/me/", {"name": "Hayun", "wood": "persimmon", "language": "ko"})

    cast.member.refresh_from_db()
    assert (cast.member.name, cast.member.wood) == ("Hayun", "persimmon")
    assert answer.cookies["django_language"].value == "ko"


def test_secret_of_a_token_is_shown_once(cast: Cast, as_: SignIn) -> None:
    browser = as_("member")

    response = browser.post("/me/tokens/", {"name": "script", "scope": "read", "days": "30"})
    again = browser.get("/me/tokens/")

    found = re.search(r"maru_[\w-]{43}", response.content.decode())
    assert found
    assert user_for_token(found.group()) == cast.member
    assert found.group() not in again.content.decode()
    assert "script" in again.content.decode()


def test_token_form_offers_only_own_teams(cast: Cast, as_: SignIn) -> None:
    fields = {"name": "script", "scope": "read", "days": "never", "team": str(cast.other_team.pk)}

    as_("member").post("/me/tokens/", fields)

    assert not ApiToken.objects.exists()


def test_token_is_revoked_by_its_owner(cast: Cast, as_: SignIn) -> None:
    token, _secret = create_token(user=cast.member, name="script")
    path = reverse("accounts:token_revoke", args=[token.pk])

    assert as_("member").post(path).status_code == 302
    assert not ApiToken.objects.exists()


def test_each_field_of_the_team_page_has_its_own_label(cast: Cast, as_: SignIn) -> None:
    page = as_("owner").get(f"/teams/{cast.team.pk}/").content.decode()

    ids = re.findall(r'<input[^>]* id="(\w+)"', page)
    assert len(ids) == len(set(ids)) == 2
    assert re.findall(r'<label[^>]* for="(\w+)"', page) == ids


def test_suspended_member_sees_the_suspension_without_the_team(cast: Cast, as_: SignIn) -> None:
    suspend_team_member(user=cast.owner, team_id=cast.team.pk, member_id=cast.member.pk)

    page = as_("member").get("/").content.decode()

    assert "Your access to the team is suspended" in page
    assert cast.team.name not in page
    assert "Your access to the team is suspended" not in as_("nobody").get("/").content.decode()


@pytest.mark.parametrize(
    ("user_agent", "words"),
    [
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/140.0 Safari/537.36", "Chrome, Windows"),
        (
            "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            "Firefox, Linux",
        ),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Safari/604.1", "Safari, iPhone"),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/140.0 Safari/537.36 Edg/140.0", "Edge, Windows"),
        ("curl/8.5.0", "curl/8.5.0"),
        ("", ""),
    ],
)
def test_session_is_listed_by_browser_and_system(user_agent: str, words: str) -> None:
    assert device(user_agent) == words


@pytest.mark.parametrize(("language", "word"), [("en", "Deactivated"), ("ko", "비활성화됨")])
def test_deactivated_member_is_marked_and_cannot_become_the_owner(
    cast: Cast, as_: SignIn, language: str, word: str
) -> None:
    url = reverse("accounts:member", args=[cast.team.pk, cast.member.pk])
    transfer = reverse("accounts:hand_over", args=[cast.team.pk, cast.member.pk])
    before = as_("owner").get(url, headers={"accept-language": language}).content.decode()
    suspend_user(person=cast.member)

    page = as_("owner").get(url, headers={"accept-language": language}).content.decode()

    assert page.count(word) == before.count(word) + 1
    assert (transfer in before, transfer in page) == (True, False)


def test_last_active_owner_is_offered_no_way_to_leave(cast: Cast, as_: SignIn) -> None:
    set_team_role(
        user=cast.owner, team_id=cast.team.pk, member_id=cast.admin.pk, role=TeamRole.OWNER
    )
    url = reverse("accounts:member", args=[cast.team.pk, cast.owner.pk])
    leave = reverse("accounts:remove", args=[cast.team.pk, cast.owner.pk])
    before = as_("owner").get(url).content.decode()
    suspend_user(person=cast.admin)

    page = as_("owner").get(url).content.decode()

    assert (leave in before, leave in page) == (True, False)
