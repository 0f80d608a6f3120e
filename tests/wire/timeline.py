"""The state of a room in a client, kept by the rules of the contract."""

from dataclasses import dataclass, field
from typing import Any

from tests.live import Frame
from tests.wire.shapes import DURABLE


@dataclass
class PartialAnswer:
    """The part of an unfinished answer that the client has."""

    attempt: int
    seq: int
    text: str


@dataclass
class EndedAnswer:
    """An answer that has ended: the text that the client assembled, and the stored text."""

    assembled: str
    stored: str
    received_to_the_end: bool
    attempt: int


@dataclass
class Timeline:
    """Apply frames in the order of arrival; if `gap` is true, the client must join again."""

    seq: int | None = None
    gap: bool = False
    messages: dict[str, Frame] = field(default_factory=dict)
    runs: dict[str, Frame] = field(default_factory=dict)
    members: dict[str, Frame] = field(default_factory=dict)
    personas: dict[str, Frame] = field(default_factory=dict)
    approvals: dict[str, Frame] = field(default_factory=dict)
    room: Frame = field(default_factory=dict)
    member_count: int = 0
    partial: dict[str, PartialAnswer] = field(default_factory=dict)
    ended: dict[str, EndedAnswer] = field(default_factory=dict)

    def join(self) -> dict[str, Any]:
        """Return the fields of `room.join` for the position of this client."""
        held = {m: [one.attempt, one.seq] for m, one in self.partial.items() if one.seq >= 0}
        return {"after": self.seq, "live": held}

    def apply(self, frame: Frame) -> None:
        kind = frame["type"]
        if kind == "room.snapshot":
            self._snapshot(frame)
        elif kind == "message.delta":
            self._delta(frame)
        elif kind in DURABLE:
            self._durable(frame, live=True)

    def _snapshot(self, frame: Frame) -> None:
        self.gap = False
        if frame["complete"]:
            for event in frame["events"]:
                self._durable(event, live=False)
        else:
            self._load_state(frame)
        for one in frame["live"]:
            self._resume(one)

    def _load_state(self, frame: Frame) -> None:
        state = frame["state"]
        self.seq = frame["seq"]
        self.room = {**state["room"]}
        self.member_count = self.room.pop("member_count")
        self.partial = {}
        self.messages = {message["id"]: message for message in state["messages"]}
        self.runs = {run["id"]: run for run in state["runs"]}
        self.approvals = {each["id"]: each for each in state["approvals"]}
        self.members = {member["user"]: member for member in state["members"]}
        self.personas = {persona["id"]: persona for persona in state["personas"]}

    def _resume(self, live: Frame) -> None:
        """Apply an unfinished answer of a snapshot: the whole text, or the part that is missing."""
        ours = self.partial.get(live["message"])
        if live["from"] == 0:
            self.partial[live["message"]] = PartialAnswer(
                live["attempt"], live["seq"], live["text"]
            )
            return
        assert ours is not None, f"only the end of what we do not have: {live}"
        assert (ours.attempt, ours.seq + 1) == (live["attempt"], live["from"]), (ours, live)
        ours.seq, ours.text = live["seq"], ours.text + live["text"]

    def _delta(self, delta: Frame) -> None:
        ours = self.partial.get(delta["message"])
        if ours is None or self.gap:
            return  # the answer has ended, or the next snapshot contains it
        if delta["attempt"] > ours.attempt:
            ours.attempt, ours.seq, ours.text = delta["attempt"], -1, ""
        if delta["attempt"] < ours.attempt or delta["seq"] <= ours.seq:
            return
        if delta["seq"] > ours.seq + 1:
            self.gap = True
            return
        ours.seq, ours.text = delta["seq"], ours.text + delta["text"]

    def _durable(self, event: Frame, *, live: bool) -> None:
        if self.seq is None or event["seq"] <= self.seq:
            return
        if event["seq"] > self.seq + 1:
            self.gap = True
        if self.gap:
            return
        self.seq = event["seq"]
        area, _, what = event["type"].partition(".")
        getattr(self, f"_{area}")(what, event, live=live)

    def _message(self, what: str, event: Frame, *, live: bool) -> None:
        message = event["message"]
        self.messages[message["id"]] = message
        if message["status"] == "streaming":
            if what == "created":
                self.partial[message["id"]] = PartialAnswer(1, -1, "")
            return
        ours = self.partial.pop(message["id"], PartialAnswer(0, -1, ""))
        if message["run"] is not None:
            was_streamed = live and ours.attempt > 0
            self.ended[message["run"]] = EndedAnswer(
                ours.text, message["text"], was_streamed, ours.attempt
            )

    def _run(self, what: str, event: Frame, *, live: bool) -> None:
        if what in ("completed", "failed", "cancelled"):
            self.runs.pop(event["run"]["id"], None)
        else:
            self.runs[event["run"]["id"]] = event["run"]

    def _approval(self, what: str, event: Frame, *, live: bool) -> None:
        if what == "decided":
            self.approvals.pop(event["approval"]["id"], None)
        else:
            self.approvals[event["approval"]["id"]] = event["approval"]

    def _question(self, what: str, event: Frame, *, live: bool) -> None:
        """No test compares the questions of a timeline."""

    def _round(self, what: str, event: Frame, *, live: bool) -> None:
        """No test compares the rounds of a timeline."""

    def _thread(self, what: str, event: Frame, *, live: bool) -> None:
        if event["message"] in self.messages:
            self.messages[event["message"]]["replies"] = event["replies"]

    def _member(self, what: str, event: Frame, *, live: bool) -> None:
        if what == "removed":
            self.members.pop(event["user"])
        else:
            self.members[event["member"]["user"]] = event["member"]
        self.member_count += {"added": 1, "removed": -1}.get(what, 0)

    def _persona(self, what: str, event: Frame, *, live: bool) -> None:
        if what == "unbound":
            self.personas.pop(event["persona"])
        else:
            self.personas[event["persona"]["id"]] = event["persona"]

    def _room(self, what: str, event: Frame, *, live: bool) -> None:
        if what != "deleted":
            self.room = event["changed"]
