"""A member is removed by one process while another has the socket; invitations with few uses."""

from tests.chaos.fanout.removals import remove_members
from tests.cluster.harness.cluster import Cluster
from tests.deadlines import REVOCATION
from tests.provider import Provider

REMOVALS = 60

ACCEPT_CONCURRENTLY = """
from uuid import uuid4
from accounts.errors import MaruError
from accounts.services import accept_invitation, create_team, create_user, invite
from tests.accounts.concurrency import run_concurrently

def make(number):
    name = f"p{number}-{uuid4().hex[:8]}"
    return create_user(name=name, email=f"{name}@example.com", verified=True)

owner = make("owner")
team = create_team(user=owner, name="Team")
users = [make(number) for number in range(50)]
for uses in (1, 3):
    _invitation, token = invite(user=owner, team_id=team.pk, max_uses=uses)
    strangers = [user for user in users if not user.memberships.exists()]
    accept = lambda user: accept_invitation(user=user, token=token)
    joined = run_concurrently(accept, strangers, MaruError)
    print(f"{len(joined)} of {uses}")
"""


async def test_member_removed_during_an_answer_receives_nothing_after_room_removed(
    cluster: Cluster, provider: Provider
) -> None:
    outcome = await remove_members(cluster, provider.base_url, removals=REMOVALS)

    print(outcome.figures)
    assert outcome.violations == []
    assert outcome.figures["removals during an answer"] == REMOVALS
    assert outcome.figures["commit to room.removed, longest (ms)"] < 1000 * REVOCATION


def test_concurrent_acceptances_of_an_invitation_never_exceed_its_uses(cluster: Cluster) -> None:
    printed = cluster.manage("shell", "--verbosity", "0", "--command", ACCEPT_CONCURRENTLY)

    assert printed.splitlines()[-2:] == ["1 of 1", "3 of 3"]
