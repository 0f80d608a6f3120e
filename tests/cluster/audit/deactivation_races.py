"""Deactivate and reactivate an account while another transaction changes rooms, on PostgreSQL.

    from tests.cluster.audit.deactivation_races import main; main()

Runs in the shell of a production installation. Prints one line for each violation.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from unittest.mock import patch
from uuid import uuid4

from django.db import connection, transaction

from accounts.errors import MaruError
from accounts.models import TeamMember, TeamRole, User
from accounts.services import create_team, create_user, suspend_user
from accounts.services.teams import add_team_member
from agents.services import create_demo_persona
from rooms import services
from rooms.models import Room, RoomEvent, RoomMember
from rooms.services.people import members
from tests.deadlines import DEADLINE
from tests.live import until
from tests.security.invariants import violations

ROLES = (TeamRole.ADMIN, TeamRole.MEMBER)


class Cast:
    """A new team: `owner`, `heir` (an admin) and `member`. `room` is open; `owner` owns it."""

    def __init__(self) -> None:
        self.owner, self.heir, self.member = (make_user(role) for role in ("o", "h", "m"))
        self.team = create_team(user=self.owner, name="Team")
        for user, role in zip((self.heir, self.member), ROLES, strict=True):
            add_team_member(self.team, user, role)
        self.room = self.new_room()

    def new_room(self) -> Room:
        """Create an open room with a persona, which `owner` owns."""
        personas = [create_demo_persona(user=self.owner, team_id=self.team.pk).pk]
        return services.create_room(
            user=self.owner,
            team_id=self.team.pk,
            name="room",
            privacy="team",
            personas=personas,
            default_persona=personas[0],
        )


def make_user(name: str) -> User:
    name = f"{name}{uuid4().hex[:10]}"
    return create_user(name=name, email=f"{name}@example.com", verified=True)


ADDING: dict[str, Callable[[Cast], object]] = {
    "create_room": lambda cast: services.create_room(
        user=cast.member, team_id=cast.team.pk, name="own"
    ),
    "create_room with people": lambda cast: services.create_room(
        user=cast.owner, team_id=cast.team.pk, name="shared", people=[cast.member.pk]
    ),
    "put_member": lambda cast: services.put_member(
        user=cast.owner, room_id=cast.room.pk, member_id=cast.member.pk, role="member"
    ),
    "join_room": lambda cast: services.join_room(user=cast.member, room_id=cast.room.pk),
    "create_team": lambda cast: create_team(user=cast.member, name="own"),
}
"""The ways in which a member gets into a room, or gets a team."""


def wait_for(other: Future[object]) -> None:
    """Return when the other transaction waits for a lock of this one, or has ended."""
    waiting = "SELECT FROM pg_stat_activity WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))"

    def waits() -> bool:
        with connection.cursor() as cursor:
            cursor.execute(waiting)
            return other.done() or cursor.rowcount > 0

    until(waits)


def in_thread(pool: ThreadPoolExecutor, act: Callable[[], object]) -> Future[object]:
    def run() -> object:
        try:
            return act()
        except MaruError as error:
            return error
        finally:
            connection.close()

    return pool.submit(run)


def race(name: str, cast: Cast, first: Callable[[], object], second: Callable[[], object]) -> None:
    """Call `second` while the transaction of `first` is not committed; print the violations."""
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            first()
            other = in_thread(pool, second)
            wait_for(other)
        other.result(DEADLINE)
    for violation in [*violations(), *unrecorded(cast.member)]:
        print(f"{name}: {violation}")


def unrecorded(user: User) -> list[str]:
    """Return the rooms whose log does not say that this deactivated member is removed."""
    found = []
    for room_id in RoomMember.objects.filter(user=user).values_list("room_id", flat=True):
        payloads = RoomEvent.objects.filter(room=room_id).order_by("seq")
        own = payloads.values_list("payload", flat=True)
        changes = [text for text in own if '"type":"member.' in text and str(user.pk) in text]
        if not changes or '"type":"member.removed"' not in changes[-1]:
            found.append(f"{user.pk} is in room {room_id} without member.removed")
    return found


def races_of_additions() -> None:
    for name, add in ADDING.items():
        for deactivated_first in (False, True):
            race_of_addition(name, add, deactivated_first=deactivated_first)


def race_of_addition(name: str, add: Callable[[Cast], object], *, deactivated_first: bool) -> None:
    cast = Cast()
    member = User.objects.get(pk=cast.member.pk)  # another process has an instance of its own

    def deactivate() -> None:
        suspend_user(person=member)

    if deactivated_first:
        race(f"deactivated, then {name}", cast, deactivate, lambda: add(cast))
    else:
        race(f"{name}, then deactivated", cast, lambda: add(cast), deactivate)


def rooms_locked_in_order() -> None:
    """Another transaction locks two rooms by id while the owner of the team is deactivated.

    The heir has an active run in the room that is locked second.
    """
    cast = Cast()
    first, second = sorted((cast.room, cast.new_room()), key=lambda room: room.pk)
    services.join_room(user=cast.heir, room_id=second.pk)
    services.post_message(user=cast.heir, room_id=second.pk, text="question")
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            Room.objects.locked().get(pk=first.pk)
            other = in_thread(pool, lambda: suspend_user(person=cast.owner))
            wait_for(other)
            Room.objects.locked().get(pk=second.pk)
        other.result(DEADLINE)


def heir_is_added_to_a_room() -> None:
    """The heir is added to a room of the owner while the owner is deactivated."""
    cast = Cast()
    find = members._member
    with ThreadPoolExecutor(1) as pool:
        others: list[Future[object]] = []

        def deactivate_first(*arguments: object) -> object:
            others.append(in_thread(pool, lambda: suspend_user(person=cast.owner)))
            wait_for(others[0])
            return find(*arguments)  # type: ignore[arg-type]  # passed on as they are

        with patch.object(members, "_member", deactivate_first):
            services.put_member(
                user=cast.owner, room_id=cast.room.pk, member_id=cast.heir.pk, role="member"
            )
        others[0].result(DEADLINE)
    owner = TeamMember.objects.active().get(team=cast.team, role=TeamRole.OWNER)
    if owner.user != cast.heir:
        print(f"team {cast.team.pk} passed to {owner.user_id}")


def main() -> None:
    for act in (races_of_additions, rooms_locked_in_order, heir_is_added_to_a_room):
        try:
            act()
        except Exception as error:
            print(f"{act.__name__}: {error!r}")
    print("done")
