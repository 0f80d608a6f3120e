"""Control of the check that runs after each test: `orphaned_permissions` finds each kind of row."""

import pytest

from accounts.models import TeamMember, TeamPermission
from accounts.services import remove_team_member
from agents import services as agents
from rooms.models import RoomMember, RoomPermission
from tests.security.invariants import orphaned_permissions
from tests.security.principals import Tenant, make_tenant

pytestmark = pytest.mark.django_db


@pytest.fixture
def tenant(db: None) -> Tenant:
    return make_tenant("Own")


def test_permission_without_a_membership_is_reported(tenant: Tenant) -> None:
    """Each membership is restored before the test ends, or the check after it would fail."""
    for permission, membership in ((TeamPermission, TeamMember), (RoomPermission, RoomMember)):
        row = membership.objects.get(user=tenant.member)
        permissions = list(permission.objects.filter(user=tenant.member))
        row.delete()

        assert len(orphaned_permissions()) >= len(permissions) > 0

        row.save(force_insert=True)
        assert orphaned_permissions() == []


def test_removed_team_member_leaves_no_permissions(tenant: Tenant) -> None:
    grant = agents.Grant(frozenset({"edit"}), user=tenant.member.pk)
    agents.put_grants(user=tenant.owner, persona_id=tenant.persona.pk, grants=[grant])

    remove_team_member(user=tenant.owner, team_id=tenant.team.pk, member_id=tenant.member.pk)

    assert orphaned_permissions() == []
    assert not TeamPermission.objects.filter(user=tenant.member).exists()
