"""Rights that end on one process, while another one has the socket; and one use for fifty."""

from tests.chaos.fanout.removals import remove_members
from tests.cluster.harness.cluster import Cluster
from tests.deadlines import REVOCATION
from tests.provider import Provider

KICKS = 60

RACE = """
from uuid import uuid4
from accounts.errors import MaruError
from accounts.services import accept_invitation, create_team, create_user, invite
from tests.accounts.concurrency import run_concurrently

def make(number):
    name = f"p{number}-{uuid4().hex[:8]}"
    return create_user(name=name, email=f"{name}@example.com", verified=True)

owner = make("owner")
team = create_team(user=owner, name="Team")
crowd = [make(number) for number in range(50)]
for uses in (1, 3):
    _invitation, token = invite(user=owner, team_id=team.pk, max_uses=uses)
    outside = [person for person in crowd if not person.memberships.exists()]
    joined = run_concurrently(lambda p: accept_invitation(user=p, token=token), outside, MaruError)
    print(f"{len(joined)} of {uses}")
"""


async def test_nothing_reaches_who_was_removed_on_the_other_process_in_mid_answer(
    cluster: Cluster, provider: Provider
) -> None:
    outcome = await remove_members(cluster, provider.base_url, removals=KICKS)

    print(outcome.figures)
    assert outcome.complaints == []
    assert outcome.figures["removed in the middle of an answer"] == KICKS
    assert outcome.figures["removed to told, longest (ms)"] < 1000 * REVOCATION


def test_one_use_is_one_person_on_postgresql_too(cluster: Cluster) -> None:
    printed = cluster.manage("shell", "--verbosity", "0", "--command", RACE)

    assert printed.splitlines()[-2:] == ["1 of 1", "3 of 3"]
