"""Speakers whose names can be confused have different labels in the prompt."""

import unicodedata
from itertools import permutations

import pytest

from accounts.models import User
from accounts.names import look_alike_key, tell_apart
from accounts.services import create_user, update_profile
from accounts.services.teams import add_team_member
from agents.engine.prompt import messages
from agents.engine_types import PersonaSpec
from agents.services import build_spec, update_persona
from rooms import services
from rooms.models import RoomRole, Run, Steer
from rooms.runs.steps import accepted_lines
from tests.rooms.claiming import conversation_of
from tests.rooms.conftest import Cast

ALIKE = [
    ("Kim", "Kim"),
    ("Kim", "kim"),
    ("Kim", "KIM "),
    ("Kim", "K\u0456m"),  # Cyrillic і
    ("Kim", "\u041aim"),  # Cyrillic К
    ("Kim", "\uff2b\uff49\uff4d"),  # full width
    ("Kim", "K\u200bim"),
    ("Kim", "Kim."),
    ("Kim", "K[im]"),
    ("Kim", "Klm"),
    ("Kim", "Kirn"),
    ("José", unicodedata.normalize("NFD", "José")),
    ("José", "Jose"),
    ("가람", unicodedata.normalize("NFD", "가람")),
    ("가람", "가\u3164람"),
    ("☆", "♡"),
    ("Oleg", "0leg"),
]


@pytest.mark.parametrize(("first", "second"), ALIKE)
def test_names_that_look_alike_are_told_apart(first: str, second: str) -> None:
    labels = tell_apart({1: (first, "one"), 2: (second, "two"), 3: ("Mina", "mina")})

    assert labels == {1: f"{first} (one)", 2: f"{second} (two)", 3: "Mina"}


def test_different_names_stay_as_they_are() -> None:
    names = ["Kim", "Kimm", "Kem", "가람", "나람", "Mina", "Nina", "Ömer", "Tomer"]

    assert len(set(map(look_alike_key, names))) == len(names)
    assert tell_apart({name: (name, "x") for name in names}) == {name: name for name in names}


def test_no_name_can_imitate_a_label() -> None:
    """A person whose name is the label of another person gets a handle, too, in every order."""
    speakers = [("Kim", "kim"), ("Kim", "kim2"), ("Kim (kim2)", "evil"), ("K im(KIM)", "worse")]

    for order in permutations(speakers):
        labels = tell_apart(dict(enumerate(order)))
        assert len({look_alike_key(label) for label in labels.values()}) == 4


@pytest.mark.parametrize("name", ["Kim (kim2)", "Kim \uff08kim2\uff09"])
def test_no_name_can_imitate_the_label_of_a_line_that_steers(name: str) -> None:
    line = Steer(author_name="Kim", author_handle="kim2", text="Stop.")
    (steering,) = accepted_lines.as_steering([line])

    (label,) = tell_apart({1: (name, "evil")}).values()

    assert look_alike_key(label) != look_alike_key(steering.author)
    assert label == f"{name} (evil)"


def rename(user: User, name: str) -> User:
    user.refresh_from_db()
    return update_profile(user=user, name=name)


def headers(run: Run) -> list[str]:
    """Return the first lines of the messages of other speakers in the prompt."""
    spec: PersonaSpec = build_spec(run.persona)
    prompt = messages(spec, conversation_of(run).turns)
    return [str(m["content"]).partition("\n")[0] for m in prompt if m["role"] == "user"]


@pytest.mark.django_db
def test_prompt_tells_people_and_personas_of_one_name_apart(cast: Cast) -> None:
    twin = create_user(name="Owner", email="twin@example.com", verified=True)
    add_team_member(cast.team, twin, "member")
    services.add_members(cast.refreshed(), [twin], RoomRole.MEMBER)
    rename(cast.member, cast.persona.name)
    for user in (cast.owner, twin, cast.member):
        services.post_message(user=user, room_id=cast.room.pk, text="hello", personas=[])
    posted = services.post_message(user=cast.moderator, room_id=cast.room.pk, text="question")

    run = Run.objects.select_related("persona__connection", "message").get(pk=posted.runs[0])
    assert headers(run) == [
        "[person Owner (owner)]",
        f"[person Owner ({twin.handle})]",
        f"[person {cast.persona.name} (member)]",
        "[person Moderator]",
    ]


@pytest.mark.django_db
def test_name_that_was_changed_is_not_given_to_its_next_holder(cast: Cast) -> None:
    """The owner speaks as Mina and takes another name; then the moderator is called Mina."""
    rename(cast.owner, "Mina")
    services.post_message(user=cast.owner, room_id=cast.room.pk, text="first", personas=[])
    rename(cast.owner, "Somin")
    rename(cast.moderator, "Mina")
    update_persona(user=cast.owner, persona_id=cast.persona.pk, name="Mina " * 7 + "Mina")
    posted = services.post_message(user=cast.moderator, room_id=cast.room.pk, text="question")

    run = Run.objects.select_related("persona__connection", "message").get(pk=posted.runs[0])
    assert headers(run) == ["[person Mina (owner)]", "[person Mina (moderator)]"]
