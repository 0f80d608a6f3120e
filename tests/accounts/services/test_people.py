"""The members of a team are read in parts, and found by name and handle."""

import pytest

from accounts.models import TeamMember, TeamRole
from accounts.services import update_profile
from accounts.services.people import matching_members, members_after
from accounts.services.teams import add_team_member
from tests.accounts.conftest import Cast, make_user

pytestmark = pytest.mark.django_db


def found(cast: Cast, words: str) -> set[str]:
    members = matching_members(TeamMember.objects.filter(team=cast.team), cast.team.pk, words)
    return set(members.values_list("user__name", flat=True))


@pytest.fixture
def team(cast: Cast) -> Cast:
    for number, name in enumerate(("김하윤", "Élodie Ｋｉｍ", "Kim Under_score", "100% Park")):
        add_team_member(cast.team, make_user(name, email=f"{number}@example.com"), TeamRole.MEMBER)
    return cast


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("kim", {"Élodie Ｋｉｍ", "Kim Under_score"}),
        ("  KIM  u", {"Kim Under_score"}),
        ("éLO", {"Élodie Ｋｉｍ"}),
        ("김하윤".encode().decode(), {"김하윤"}),
        ("\u1100\u1175\u11b7\u1112\u1161", {"김하윤"}),  # decomposed, as macOS writes names
        ("김\u3147", {"김하윤"}),  # the input method shows the first letter of a syllable
        ("im", set()),
        ("%", set()),
        ("100%", {"100% Park"}),
        ("under_", {"Kim Under_score"}),
        ("@kim-under", {"Kim Under_score"}),
        ("@park", set()),
        ("stranger", set()),
    ],
)
def test_search_finds_beginnings_of_words_in_any_case_and_width(
    team: Cast, words: str, names: set[str]
) -> None:
    assert found(team, words) == names


def test_search_without_words_finds_all_members(team: Cast) -> None:
    assert len(found(team, " ")) == team.team.members.count()


def test_search_follows_a_new_name(team: Cast) -> None:
    update_profile(user=team.member, name="Renamed Person")

    assert found(team, "renamed") == {"Renamed Person"}
    assert found(team, "person") == {"Renamed Person"}


def test_parts_hold_each_member_once_from_owners_to_guests(team: Cast) -> None:
    members = TeamMember.objects.filter(team=team.team)
    whole, has_more = members_after(members, "", 100)
    read: list[TeamMember] = []
    after = ""
    while True:
        part, more = members_after(members, after, 2)
        read += part
        if not more:
            break
        after = str(part[-1].pk)

    assert read == whole
    assert not has_more
    assert len(whole) == members.count()
    ranks = [list(TeamRole.values).index(member.role) for member in whole]
    assert ranks == sorted(ranks)
    keys = [member.name_key for member in whole if member.role == TeamRole.MEMBER]
    assert keys == sorted(keys)


@pytest.mark.parametrize("after", ["0", "9" * 40, "x", "-1", "²"])
def test_unknown_position_stands_for_the_start(team: Cast, after: str) -> None:
    members = TeamMember.objects.filter(team=team.team)

    assert members_after(members, after, 3) == members_after(members, "", 3)
