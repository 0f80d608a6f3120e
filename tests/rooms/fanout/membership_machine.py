"""A Hypothesis state machine of users and rooms that checks what each socket receives.

Its model is kept from the requested steps only, never from what the product has stored. So a
product that delivers too much or too little disagrees with the model directly after the step.
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

USERS = 4
SOCKETS_PER_USER = 2
MOST_ROOMS = 3
ROLES = ("moderator", "member", "reader")
EPHEMERAL = {"presence", "member.typing", "room.activity"}
RESPONSES = {"command.done", "command.refused", "room.snapshot"}

people = st.integers(0, USERS - 1)
rooms = st.integers(0, MOST_ROOMS - 1)


@dataclass
class RoomModel:
    """The expected state of a room."""

    id: UUID
    open: bool
    archived: bool = False
    deleted: bool = False
    roles: dict[int, str] = field(default_factory=dict)
    answer: tuple[Job, Deltas] | None = None
    former: set[int] = field(default_factory=set)  # all users who were ever members


@dataclass
class SocketModel:
    """A socket, its user, and the rooms that it is expected to be subscribed to."""

    person: int
    client: SocketClient
    joined: set[UUID] = field(default_factory=set)
    seen: int = 0


class Intervals(RuleBasedStateMachine):
    """Memberships change, and each socket receives the events of its user's rooms only."""

    chunks: ClassVar[int] = 30  # deltas of one step
    delivered: ClassVar[int] = 0  # over all machines of this process

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.context = run_harness()
        self.harness: Harness = self.run(self.context.__aenter__())
        self.models: list[RoomModel] = []
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
    def set_up(self) -> None:
        self.run(self._set_up())
        for person in range(USERS):
            self.add(person, 0, "member")
        for socket in range(USERS * SOCKETS_PER_USER):
            self.join(socket, 0)

    async def _set_up(self) -> None:
        suffix = uuid4().hex[:8]

        def make() -> tuple[User, list[User], UUID, UUID]:
            host = _user(f"host-{suffix}")
            team = accounts.create_team(user=host, name=suffix)
            users = [_user(f"p{number}-{suffix}") for number in range(USERS)]
            for user in users:
                add_team_member(team, user, TeamRole.MEMBER)
            persona = create_demo_persona(user=host, team_id=team.pk)
            return host, users, team.pk, persona.pk

        self.host, self.users, self.team, self.persona = await self.harness.do(make)
        self.sockets = [
            SocketModel(person, self.harness.connect(user))
            for person, user in enumerate(self.users)
            for _ in range(SOCKETS_PER_USER)
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
        self.models.append(RoomModel(room.pk, is_open))
        await self._new_events()  # skip its first events: it has no subscriptions yet

    # The model

    def is_in(self, person: int, model: RoomModel) -> bool:
        return person in model.roles and person not in self.suspended and not model.deleted

    def _members(self, model: RoomModel) -> set[int]:
        return {person for person in model.roles if self.is_in(person, model)}

    def model(self, number: int) -> RoomModel:
        return self.models[number % len(self.models)]

    # The steps

    @precondition(lambda self: len(self.models) < MOST_ROOMS)
    @rule(is_open=st.booleans())
    def make_room(self, is_open: bool) -> None:  # noqa: FBT001  # as Hypothesis calls it
        self.run(self._open_room(is_open=is_open))

    @rule(person=people, room=rooms, role=st.sampled_from(ROLES))
    def add(self, person: int, room: int, role: str) -> None:
        model = self.model(room)
        usable = not model.deleted and not model.archived and person not in self.suspended

        def act() -> None:
            services.put_member(
                user=self.host, room_id=model.id, member_id=self.users[person].pk, role=role
            )

        self.step(act, allowed=usable)
        if usable:
            model.roles[person] = role

    @rule(room=rooms)
    def add_and_join_all(self, room: int) -> None:
        """Without this step, most rooms would have few members and subscriptions."""
        for person in range(USERS):
            self.reinstate(person)
            self.add(person, room, "member")
        for socket in range(USERS * SOCKETS_PER_USER):
            self.join(socket, room)

    @rule(person=people, room=rooms)
    def join_open_room(self, person: int, room: int) -> None:
        model = self.model(room)
        usable = model.open and not model.deleted and not model.archived
        allowed = usable and person not in self.suspended | self.guests

        def act() -> None:
            services.join_room(user=self.users[person], room_id=model.id)

        self.step(act, allowed=allowed)
        if allowed:
            model.roles.setdefault(person, "member")

    @rule(person=people, room=rooms)
    def remove(self, person: int, room: int) -> None:
        self._remove(person, self.model(room), streaming=False)

    @rule(person=people, room=rooms)
    def remove_during_answer(self, person: int, room: int) -> None:
        """Remove a member while deltas are streamed and the removal commits."""
        self.answer(room)
        self._remove(person, self.model(room), streaming=True)

    def _remove(self, person: int, model: RoomModel, *, streaming: bool) -> None:
        allowed = self.is_in(person, model)
        if allowed:
            del model.roles[person]

        def act() -> None:
            services.remove_member(
                user=self.host, room_id=model.id, member_id=self.users[person].pk
            )

        self.step(act, allowed=allowed, streaming=model if streaming else None)

    @rule(person=people, room=rooms)
    def end_membership(self, person: int, room: int) -> None:
        model, user = self.model(room), self.users[person]
        allowed = self.is_in(person, model)
        if allowed:
            del model.roles[person]

        def act() -> None:
            services.remove_member(user=user, room_id=model.id, member_id=user.pk)

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
    def reinstate(self, person: int) -> None:
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
                for model in self.models:
                    if model.open:
                        model.roles.pop(person, None)
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
        model = self.model(room)

        def act() -> None:
            services.archive_room(user=self.host, room_id=model.id)

        self.step(act, allowed=not model.deleted)
        if not model.deleted:
            model.archived, model.answer = True, None

    @rule(room=rooms)
    def restore(self, room: int) -> None:
        model = self.model(room)

        def act() -> None:
            services.restore_room(user=self.host, room_id=model.id)

        self.step(act, allowed=not model.deleted)
        model.archived = model.archived and model.deleted

    @precondition(lambda self: len([p for p in self.models if not p.deleted]) > 1)
    @rule(room=rooms)
    def delete(self, room: int) -> None:
        model = self.model(room)
        allowed = not model.deleted
        model.deleted, model.answer = True, None

        def act() -> None:
            services.delete_room(user=self.host, room_id=model.id)

        self.step(act, allowed=allowed)

    @rule(socket=st.integers(0, USERS * SOCKETS_PER_USER - 1), room=rooms)
    def join(self, socket: int, room: int) -> None:
        target, model = self.sockets[socket], self.model(room)
        allowed = self.is_in(target.person, model)
        answer = self.run(target.client.join(model.id))
        assert (answer["type"] == "room.snapshot") is allowed, answer
        assert allowed or answer["code"] == "not_found", answer
        if allowed:
            target.joined.add(model.id)
        self.check()

    @rule(socket=st.integers(0, USERS * SOCKETS_PER_USER - 1), room=rooms)
    def leave_room(self, socket: int, room: int) -> None:
        target, model = self.sockets[socket], self.model(room)
        response = self.run(target.client.command("room.leave", room=str(model.id)))
        allowed = model.id in target.joined or self.is_in(target.person, model)
        assert (response["type"] == "command.done") is allowed, response
        self.check()
        target.joined.discard(model.id)

    @rule(socket=st.integers(0, USERS * SOCKETS_PER_USER - 1), room=rooms)
    def say(self, socket: int, room: int) -> None:
        target, model = self.sockets[socket], self.model(room)
        response = self.run(target.client.say(model.id, "hello"))
        if not self.is_in(target.person, model):
            assert response["code"] == "not_found", response
        elif model.archived or model.roles[target.person] == "reader":
            assert response["code"] == "forbidden", response
        else:
            assert response["type"] == "command.done", response
        self.check()

    @rule(room=rooms)
    def answer(self, room: int) -> None:
        """Stream deltas of the room's answer; start one if there is none."""
        model = self.model(room)
        if model.deleted or model.archived:
            return
        if model.answer is None:
            self.run(self._begin(model))
            self.check()
        self.run(self._write(model))
        self.check()

    @rule(room=rooms)
    def finish(self, room: int) -> None:
        model = self.model(room)
        if model.answer is not None:
            job, deltas = model.answer
            model.answer = None
            self.run(self.harness.do(lifecycle.complete, job, deltas.text, None))
            self.check()

    async def _begin(self, model: RoomModel) -> None:
        await self.harness.do(services.post_message, user=self.host, room_id=model.id, text="go on")
        job = await self.harness.take()
        assert job is not None
        model.answer = (job, Deltas(job, lease_is_valid))

    async def _write(self, model: RoomModel) -> None:
        assert model.answer is not None
        _job, deltas = model.answer
        for _ in range(self.chunks):
            text = f"{uuid4().hex} "
            self.streamed[model.id].append(text)
            await deltas.add(text)
            await deltas.flush()

    # The checks

    def step(
        self,
        act: Callable[[], None],
        *,
        allowed: bool,
        streaming: RoomModel | None = None,
    ) -> None:
        """Call `act`, which must be refused unless `allowed`, and check all sockets."""
        self.run(self._act(act, allowed=allowed, streaming=streaming))
        self.check()

    async def _act(
        self, act: Callable[[], None], *, allowed: bool, streaming: RoomModel | None
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
        """Compare what every socket has received since the last step with the model."""
        self.run(self._check())

    async def _check(self) -> None:
        await self.harness.settled(*(socket.client for socket in self.sockets))
        new = await self._new_events()
        for socket in self.sockets:
            received, socket.seen = (
                socket.client.received[socket.seen :],
                len(socket.client.received),
            )
            for model in self.models:
                of_room = [frame for frame in received if frame.get("room") == str(model.id)]
                self._check_room(socket, model, of_room, new[model.id])
        self.streamed.clear()
        for model in self.models:
            model.former |= self._members(model)

    async def _new_events(self) -> dict[UUID, list[tuple[int, str]]]:
        def read() -> list[tuple[UUID, int, str]]:
            log = RoomEvent.objects.filter(room__team=self.team, pk__gt=self.newest).order_by("pk")
            found = list(log.values_list("pk", "room_id", "seq", "type"))
            self.newest = max((row[0] for row in found), default=self.newest)
            return [row[1:] for row in found]

        events: dict[UUID, list[tuple[int, str]]] = {model.id: [] for model in self.models}
        for room, seq, kind in await self.harness.do(read):
            events[room].append((seq, kind))
        return events

    def _check_room(
        self,
        socket: SocketModel,
        model: RoomModel,
        received: list[Json],
        events: list[tuple[int, str]],
    ) -> None:
        deltas = [frame["text"] for frame in received if frame["type"] == "message.delta"]
        kinds = [frame["type"] for frame in received]
        durable = [
            (frame["seq"], frame["type"])
            for frame in received
            if frame["type"] not in EPHEMERAL | RESPONSES | {"message.delta", "room.removed"}
        ]
        Intervals.delivered += len(deltas) + len(durable)
        joined = model.id in socket.joined
        about = (socket.person, model, kinds)
        if joined and self.is_in(socket.person, model):
            assert durable == events, about
            assert deltas == self.streamed[model.id], about
            assert "room.removed" not in kinds, about
        elif joined:
            assert kinds[-1] == "room.removed", about
            assert durable == events[: len(durable)], about
            assert deltas == self.streamed[model.id][: len(deltas)], about
            socket.joined.discard(model.id)
        else:
            assert durable == [], about
            assert deltas == [], about
            assert set(kinds) <= RESPONSES | {"room.activity"}, about
        if socket.person not in model.former | self._members(model):
            # Former members are excluded: unread counts are sent up to a second after the query.
            assert set(kinds) <= {"command.done", "command.refused"}, about


def _user(name: str) -> User:
    return accounts.create_user(name=name, email=f"{name}@example.com", verified=True)
