"""The set-up of an empty installation, by page and by command."""

import re
from io import StringIO
from pathlib import Path

import pytest
from allauth.account.models import EmailAddress
from allauth.usersessions.models import UserSession
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditEntry, SetupLink, Team, TeamMember, User
from accounts.services import create_team, create_user, user_for_token
from agents.models import Persona
from maru.web.setup import link_for_empty_installation
from rooms.models import Room

pytestmark = pytest.mark.django_db

ADDRESS = "http://127.0.0.1:8000"
FIELDS = {
    "name": "이서준",
    "email": "Seojun@Hangyeol.kr",
    "password": "ondol-warms-the-floor",
    "team_name": "한결 커머스",
}


@pytest.fixture
def path() -> str:
    link = link_for_empty_installation(ADDRESS)
    assert link is not None
    assert re.fullmatch(ADDRESS + r"/setup/[\w-]{43}", link)
    return link.removeprefix(ADDRESS)


def test_page_shows_the_state_of_this_server(client: Client, path: str) -> None:
    answer = client.get(path)

    page = answer.content.decode()
    assert answer.status_code == 200
    assert re.search(r"SQLite|PostgreSQL", page)
    assert "60 minutes" in page


def test_form_creates_account_team_room_and_persona(client: Client, path: str) -> None:
    answer = client.post(path, FIELDS)

    room = Room.objects.get()
    owner = User.objects.get()
    assert answer["Location"] == reverse("rooms:room", args=[room.pk])
    assert (owner.name, owner.email) == ("이서준", "seojun@hangyeol.kr")
    assert TeamMember.objects.get().role == "owner"
    assert Team.objects.get().name == "한결 커머스"
    assert Persona.objects.get().connection.kind == "demo"
    assert client.session["_auth_user_id"] == str(owner.pk)
    assert UserSession.objects.get().session_key == client.session.session_key
    done = AuditEntry.objects.values_list("action", flat=True)
    assert {"user.created", "user.changed", "team.created", "connection.created"} <= set(done)


def test_choice_of_a_provider_leads_to_its_connection(client: Client, path: str) -> None:
    answer = client.post(path, {**FIELDS, "model": "provider"})

    persona, room = Persona.objects.get(), Room.objects.get()
    steps = reverse("agents:connect_model", args=[persona.team_id, persona.pk])
    assert answer["Location"] == f"{steps}?next={reverse('rooms:room', args=[room.pk])}"
    assert client.get(answer["Location"]).status_code == 200


def test_address_of_the_first_account_counts_as_verified(client: Client, path: str) -> None:
    client.post(path, FIELDS)

    assert EmailAddress.objects.get(email="seojun@hangyeol.kr").verified


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "\u200b"),
        ("email", "nonsense"),
        ("password", "short"),
        ("password", "password12"),
        ("password", "seojun@hangyeol.kr"),
        ("team_name", ""),
        ("team_name", "\u3164"),
    ],
)
def test_mistake_creates_nothing_and_keeps_the_link_valid(
    client: Client, path: str, field: str, value: str
) -> None:
    answer = client.post(path, {**FIELDS, field: value})

    assert answer.status_code == 200
    assert 'aria-invalid="true"' in answer.content.decode() or "notice" in answer.content.decode()
    assert not User.objects.exists()
    assert client.post(path, FIELDS).status_code == 302


def test_page_never_contains_the_password(client: Client, path: str) -> None:
    answer = client.post(path, {**FIELDS, "team_name": ""})

    assert FIELDS["password"] not in answer.content.decode()


def test_used_expired_and_wrong_links_look_the_same(client: Client, path: str) -> None:
    other = link_for_empty_installation(ADDRESS)
    assert other is not None
    old = other.removeprefix(ADDRESS)
    newest = SetupLink.objects.latest("pk")
    newest.expires_at = timezone.now()
    newest.save()
    Client().post(path, FIELDS)

    pages = [client.get(one) for one in (path, old, "/setup/guess")]

    assert {page.status_code for page in pages} == {404}
    assert len({page.content for page in pages}) == 1
    assert "bootstrap" in pages[0].content.decode()


def test_second_use_of_a_link_creates_nothing(path: str) -> None:
    Client().post(path, FIELDS)

    answer = Client().post(path, {**FIELDS, "email": "late@example.com"})

    assert answer.status_code == 404
    assert User.objects.count() == 1


def test_failure_of_the_room_rolls_everything_back(
    client: Client, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_kwargs: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("maru.web.setup.create_first_room", fail)

    with pytest.raises(RuntimeError):
        client.post(path, FIELDS)

    assert not User.objects.exists()
    assert client.get(path).status_code == 200


def test_installation_with_an_account_gets_no_link(client: Client, path: str) -> None:
    client.post(path, FIELDS)

    assert link_for_empty_installation(ADDRESS) is None


def test_account_without_a_team_does_not_close_the_setup() -> None:
    stranger = create_user(name="Stranger", email="stranger@example.com")
    create_team(user=stranger, name="Theirs")

    assert link_for_empty_installation(ADDRESS) is not None


# Without a browser


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text("ondol-warms-the-floor\n")
    return file


def bootstrap(*arguments: str) -> str:
    output = StringIO()
    call_command("bootstrap", *arguments, stdout=output, stderr=StringIO())
    return output.getvalue()


def test_bootstrap_creates_the_same_and_prints_a_token(password_file: Path) -> None:
    output = bootstrap(
        *("--email", "a@example.com", "--team", "Team"),
        *("--password-file", str(password_file), "--print-token"),
    )

    user = User.objects.get()
    token_user = user_for_token(output.strip())
    assert token_user is not None
    assert token_user == user
    assert token_user.scope.names == {"read", "write", "admin"}
    assert user.check_password("ondol-warms-the-floor")
    assert Room.objects.count() == Persona.objects.count() == 1


def test_bootstrap_without_a_token_prints_none() -> None:
    assert "maru_" not in bootstrap("--email", "a@example.com", "--team", "Team")


def test_bootstrap_without_a_password_creates_an_account_without_one() -> None:
    bootstrap("--email", "a@example.com", "--team", "Team")

    assert not User.objects.get().has_usable_password()


def test_bootstrap_fails_after_the_set_up() -> None:
    bootstrap("--email", "a@example.com", "--team", "Team")

    with pytest.raises(CommandError, match="already set up"):
        bootstrap("--email", "b@example.com", "--team", "Team")

    assert User.objects.count() == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("--email", "nonsense", "--team", "Team"),
        ("--email", "a@example.com", "--team", "\u200b"),
        ("--email", "a@example.com", "--team", "Team", "--password-file", "/nowhere"),
        ("--email", "a@example.com"),
        ("--team", "Team"),
    ],
)
def test_bootstrap_reports_a_mistake_and_creates_nothing(arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        bootstrap(*arguments)

    assert not User.objects.exists()


def test_empty_password_file_is_a_mistake(tmp_path: Path) -> None:
    file = tmp_path / "empty"
    file.write_text("\n")

    with pytest.raises(CommandError):
        bootstrap("--email", "a@example.com", "--team", "Team", "--password-file", str(file))
