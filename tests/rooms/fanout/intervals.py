"""A machine of people and rooms that knows who is in which room when, and what each must hear.

Its picture is kept by what was asked for and by nothing that the product has stored, so a product
that lets somebody hear too much, or too little, disagrees with it after the very step that did.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar
from uuid import UUID, uuid4

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from accounts import services as accounts
from accounts.errors import MaruError
from accounts.models import TeamRole, User
from accounts.services.teams import add_team_member
from agents.services import create_demo_persona
from rooms import services
from rooms.models import RoomEvent
from rooms.runs import lifecycle
from rooms.runs.deltas import Deltas
from rooms.runs.lifecycle import Job
from tests.rooms.fanout.harness import Harness, Json, SocketClient, lease_is_valid, run_harness

PEOPLE = 4
SEATS = 2
MOST_ROOMS = 3
ROLES = ("moderator", "member", "reader")
PASSING = {"presence", "member.typing", "room.activity"}
ANSWERS = {"command.done", "command.refused", "room.snapshot"}

people = st.integers(0, PEOPLE - 1)
rooms = st.integers(0, MOST_ROOMS - 1)


@dataclass
class Place:
    """A room as the machine sees it."""

    id: UUID
    open: bool
    archived: bool = False
    deleted: bool = False
    roles: dict[int, str] = field(default_factory=dict)
    answer: tuple[Job, Deltas] | None = None
    were: set[int] = field(default_factory=set)  # whoever has been in it


@dataclass
class Listener:
    """A socket, whose it is, and the rooms that it listens to."""

    person: int
    client: SocketClient
    listens: set[UUID] = field(default_factory=set)
    mark: int = 0


class Intervals(RuleBasedStateMachine):
    """People come and go, and each socket hears just what was said while its owner was there."""

    chunks: ClassVar[int] = 30  # deltas of one step
    delivered: ClassVar[int] = 0  # over all machines of this process

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.context = run_harness()
        self.harness: Harness = self.run(self.context.__aenter__())
        self.places: list[Place] = []
        self.suspended: set[int] = set()
        self.guests: set[int] = set()
        self.newest = 0
        self.streamed: defaultdict[UUID, list[str]] = defaultdict(list)

    def run(self, work: Awaitable[Any]) -> Any:
        async def do() -> Any:
            return await work

        return self.runner.run(do())

    def teardown(self) -> None:
        self.run(self.context.__aexit__(None, None, None))
        self.runner.close()

    @initialize()
    def move_in(self) -> None:
        self.run(self._move_in())
        for person in range(PEOPLE):
            self.add(person, 0, "member")
        for listener in range(PEOPLE * SEATS):
            self.listen(listener, 0)

    async def _move_in(self) -> None:
        mark = uuid4().hex[:8]

        def make() -> tuple[User, list[User], UUID, UUID]:
            host = _user(f"host-{mark}")
            team = accounts.create_team(user=host, name=mark)
            guests = [_user(f"p{number}-{mark}") for number in range(PEOPLE)]
            for guest in guests:
                add_team_member(team, guest, TeamRole.MEMBER)
            persona = create_demo_persona(user=host, team_id=team.pk)
            return host, guests, team.pk, persona.pk

        self.host, self.users, self.team, self.persona = await self.harness.do(make)
        self.listeners = [
            Listener(person, self.harness.connect(user))
            for person, user in enumerate(self.users)
            for _ in range(SEATS)
        ]
        await self._open_room(is_open=False)

    async def _open_room(self, *, is_open: bool) -> None:
        room = await self.harness.do(
            services.create_room,
            user=self.host,
            team_id=self.team,
            name="room",
            privacy="team" if is_open else "private",
            personas=[self.persona],
        )
        self.places.append(Place(room.pk, is_open))
        await self._new_events()  # nobody listens yet

    # What the machine knows

    def is_in(self, person: int, place: Place) -> bool:
        return person in place.roles and person not in self.suspended and not place.deleted

    def _inside(self, place: Place) -> set[int]:
        return {person for person in place.roles if self.is_in(person, place)}

    def place(self, number: int) -> Place:
        return self.places[number % len(self.places)]

    # What happens

    @precondition(lambda self: len(self.places) < MOST_ROOMS)
    @rule(is_open=st.booleans())
    def make_room(self, is_open: bool) -> None:  # noqa: FBT001  # as Hypothesis calls it
        self.run(self._open_room(is_open=is_open))

    @rule(person=people, room=rooms, role=st.sampled_from(ROLES))
    def add(self, person: int, room: int, role: str) -> None:
        place = self.place(room)
        usable = not place.deleted and not place.archived and person not in self.suspended

        def act() -> None:
            services.put_member(
                user=self.host, room_id=place.id, member_id=self.users[person].pk, role=role
            )

        self.step(act, allowed=usable)
        if usable:
            place.roles[person] = role

    @rule(room=rooms)
    def gather_everybody(self, room: int) -> None:
        """Else most of what is said would be said to few."""
        for person in range(PEOPLE):
            self.let_back(person)
            self.add(person, room, "member")
        for listener in range(PEOPLE * SEATS):
            self.listen(listener, room)

    @rule(person=people, room=rooms)
    def come_in(self, person: int, room: int) -> None:
        place = self.place(room)
        usable = place.open and not place.deleted and not place.archived
        allowed = usable and person not in self.suspended | self.guests

        def act() -> None:
            services.join_room(user=self.users[person], room_id=place.id)

        self.step(act, allowed=allowed)
        if allowed:
            place.roles.setdefault(person, "member")

    @rule(person=people, room=rooms)
    def kick(self, person: int, room: int) -> None:
        self._kick(person, self.place(room), streaming=False)

    @rule(person=people, room=rooms)
    def kick_in_mid_answer(self, person: int, room: int) -> None:
        """The answer goes on while the removal commits."""
        self.answer(room)
        self._kick(person, self.place(room), streaming=True)

    def _kick(self, person: int, place: Place, *, streaming: bool) -> None:
        allowed = self.is_in(person, place)
        if allowed:
            del place.roles[person]

        def act() -> None:
            services.remove_member(
                user=self.host, room_id=place.id, member_id=self.users[person].pk
            )

        self.step(act, allowed=allowed, streaming=place if streaming else None)

    @rule(person=people, room=rooms)
    def leave(self, person: int, room: int) -> None:
        place, user = self.place(room), self.users[person]
        allowed = self.is_in(person, place)
        if allowed:
            del place.roles[person]

        def act() -> None:
            services.remove_member(user=user, room_id=place.id, member_id=user.pk)

        self.step(act, allowed=allowed)

    @rule(person=people)
    def suspend(self, person: int) -> None:
        allowed = person not in self.suspended
        self.suspended.add(person)

        def act() -> None:
            accounts.suspend_team_member(
                user=self.host, team_id=self.team, member_id=self.users[person].pk
            )

        self.step(act, allowed=allowed)

    @rule(person=people)
    def let_back(self, person: int) -> None:
        allowed = person in self.suspended
        self.suspended.discard(person)

        def act() -> None:
            accounts.restore_team_member(
                user=self.host, team_id=self.team, member_id=self.users[person].pk
            )

        self.step(act, allowed=allowed)

    @rule(person=people, guest=st.booleans())
    def set_team_role(self, person: int, guest: bool) -> None:  # noqa: FBT001  # as above
        allowed = person not in self.suspended
        if allowed and guest:
            if person not in self.guests:
                for place in self.places:
                    if place.open:
                        place.roles.pop(person, None)
            self.guests.add(person)
        elif allowed:
            self.guests.discard(person)

        def act() -> None:
            accounts.set_team_role(
                user=self.host,
                team_id=self.team,
                member_id=self.users[person].pk,
                role=TeamRole.GUEST if guest else TeamRole.MEMBER,
            )

        self.step(act, allowed=allowed)

    @rule(room=rooms)
    def archive(self, room: int) -> None:
        place = self.place(room)

        def act() -> None:
            services.archive_room(user=self.host, room_id=place.id)

        self.step(act, allowed=not place.deleted)
        if not place.deleted:
            place.archived, place.answer = True, None

    @rule(room=rooms)
    def restore(self, room: int) -> None:
        place = self.place(room)

        def act() -> None:
            services.restore_room(user=self.host, room_id=place.id)

        self.step(act, allowed=not place.deleted)
        place.archived = place.archived and place.deleted

    @precondition(lambda self: len([p for p in self.places if not p.deleted]) > 1)
    @rule(room=rooms)
    def delete(self, room: int) -> None:
        place = self.place(room)
        allowed = not place.deleted
        place.deleted, place.answer = True, None

        def act() -> None:
            services.delete_room(user=self.host, room_id=place.id)

        self.step(act, allowed=allowed)

    @rule(listener=st.integers(0, PEOPLE * SEATS - 1), room=rooms)
    def listen(self, listener: int, room: int) -> None:
        one, place = self.listeners[listener], self.place(room)
        allowed = self.is_in(one.person, place)
        answer = self.run(one.client.join(place.id))
        assert (answer["type"] == "room.snapshot") is allowed, answer
        assert allowed or answer["code"] == "not_found", answer
        if allowed:
            one.listens.add(place.id)
        self.check()

    @rule(listener=st.integers(0, PEOPLE * SEATS - 1), room=rooms)
    def listen_no_more(self, listener: int, room: int) -> None:
        one, place = self.listeners[listener], self.place(room)
        told = self.run(one.client.command("room.leave", room=str(place.id)))
        allowed = place.id in one.listens or self.is_in(one.person, place)
        assert (told["type"] == "command.done") is allowed, told
        self.check()
        one.listens.discard(place.id)

    @rule(listener=st.integers(0, PEOPLE * SEATS - 1), room=rooms)
    def say(self, listener: int, room: int) -> None:
        one, place = self.listeners[listener], self.place(room)
        told = self.run(one.client.say(place.id, "hello"))
        if not self.is_in(one.person, place):
            assert told["code"] == "not_found", told
        elif place.archived or place.roles[one.person] == "reader":
            assert told["code"] == "forbidden", told
        else:
            assert told["type"] == "command.done", told
        self.check()

    @rule(room=rooms)
    def answer(self, room: int) -> None:
        """Begin an answer, or go on with it."""
        place = self.place(room)
        if place.deleted or place.archived:
            return
        if place.answer is None:
            self.run(self._begin(place))
            self.check()
        self.run(self._write(place))
        self.check()

    @rule(room=rooms)
    def finish(self, room: int) -> None:
        place = self.place(room)
        if place.answer is not None:
            job, deltas = place.answer
            place.answer = None
            self.run(self.harness.do(lifecycle.complete, job, deltas.text, None))
            self.check()

    async def _begin(self, place: Place) -> None:
        await self.harness.do(services.post_message, user=self.host, room_id=place.id, text="go on")
        job = await self.harness.take()
        assert job is not None
        place.answer = (job, Deltas(job, lease_is_valid))

    async def _write(self, place: Place) -> None:
        assert place.answer is not None
        _job, deltas = place.answer
        for _ in range(self.chunks):
            text = f"{uuid4().hex} "
            self.streamed[place.id].append(text)
            await deltas.add(text)
            await deltas.flush()

    # What must be received

    def step(
        self,
        act: Callable[[], None],
        *,
        allowed: bool,
        streaming: Place | None = None,
    ) -> None:
        """Do something, which must be refused unless it is allowed, and see who hears what."""
        self.run(self._act(act, allowed=allowed, streaming=streaming))
        self.check()

    async def _act(
        self, act: Callable[[], None], *, allowed: bool, streaming: Place | None
    ) -> None:
        work = [self.harness.do(act)]
        if streaming is not None and streaming.answer is not None:
            work.append(self._write(streaming))
        outcome, *others = await asyncio.gather(*work, return_exceptions=True)
        assert not any(others), others
        refused = isinstance(outcome, MaruError)
        if isinstance(outcome, BaseException) and not refused:
            raise outcome
        assert refused is not allowed, outcome

    def check(self) -> None:
        """Hold what every socket has received since the last step against what it had to hear."""
        self.run(self._check())

    async def _check(self) -> None:
        await self.harness.settled(*(listener.client for listener in self.listeners))
        new = await self._new_events()
        for listener in self.listeners:
            received, listener.mark = (
                listener.client.received[listener.mark :],
                len(listener.client.received),
            )
            for place in self.places:
                of_room = [frame for frame in received if frame.get("room") == str(place.id)]
                self._check_room(listener, place, of_room, new[place.id])
        self.streamed.clear()
        for place in self.places:
            place.were |= self._inside(place)

    async def _new_events(self) -> dict[UUID, list[tuple[int, str]]]:
        def read() -> list[tuple[UUID, int, str]]:
            log = RoomEvent.objects.filter(room__team=self.team, pk__gt=self.newest).order_by("pk")
            found = list(log.values_list("pk", "room_id", "seq", "type"))
            self.newest = max((row[0] for row in found), default=self.newest)
            return [row[1:] for row in found]

        events: dict[UUID, list[tuple[int, str]]] = {place.id: [] for place in self.places}
        for room, seq, kind in await self.harness.do(read):
            events[room].append((seq, kind))
        return events

    def _check_room(
        self,
        listener: Listener,
        place: Place,
        received: list[Json],
        events: list[tuple[int, str]],
    ) -> None:
        deltas = [frame["text"] for frame in received if frame["type"] == "message.delta"]
        kinds = [frame["type"] for frame in received]
        durable = [
            (frame["seq"], frame["type"])
            for frame in received
            if frame["type"] not in PASSING | ANSWERS | {"message.delta", "room.removed"}
        ]
        Intervals.delivered += len(deltas) + len(durable)
        listened = place.id in listener.listens
        about = (listener.person, place, kinds)
        if listened and self.is_in(listener.person, place):
            assert durable == events, about
            assert deltas == self.streamed[place.id], about
            assert "room.removed" not in kinds, about
        elif listened:
            assert kinds[-1] == "room.removed", about
            assert durable == events[: len(durable)], about
            assert deltas == self.streamed[place.id][: len(deltas)], about
            listener.listens.discard(place.id)
        else:
            assert durable == [], about
            assert deltas == [], about
            assert set(kinds) <= ANSWERS | {"room.activity"}, about
        if listener.person not in place.were | self._inside(place):
            # Counts of what is unread are a second old, and so may be on their way to whoever left.
            assert set(kinds) <= {"command.done", "command.refused"}, about


def _user(name: str) -> User:
    return accounts.create_user(name=name, email=f"{name}@example.com", verified=True)
