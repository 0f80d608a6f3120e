"""The control of the look for orphans that follows each test: it sees each kind of them."""

import pytest

from accounts.models import TeamMember, TeamPermission
from accounts.services import remove_team_member
from agents import services as agents
from rooms.models import RoomMember, RoomPermission
from tests.rooms.conftest import Cast
from tests.security.orphans import orphans

pytestmark = pytest.mark.django_db


def test_right_without_a_place_is_seen(cast: Cast) -> None:
    """Each row is put away before the end, or this test would be found out, too."""
    for model, places in ((TeamPermission, TeamMember), (RoomPermission, RoomMember)):
        place = places.objects.filter(user=cast.reader).get()
        rights = list(model.objects.filter(user=cast.reader))
        place.delete()

        assert len(orphans()) >= len(rights) > 0

        place.save(force_insert=True)
        assert orphans() == []


def test_nothing_of_who_is_removed_is_left(cast: Cast) -> None:
    grant = agents.Grant(frozenset({"edit"}), user=cast.member.pk)
    agents.put_grants(user=cast.owner, persona_id=cast.persona.pk, grants=[grant])

    remove_team_member(user=cast.owner, team_id=cast.team.pk, member_id=cast.member.pk)

    assert orphans() == []
    assert not TeamPermission.objects.filter(user=cast.member).exists()
