"""The positions up to which a topic has delivered: in the log, and in each unfinished answer."""

from typing import Final
from uuid import UUID

from msgspec import Struct

ENDED_ANSWERS: Final = 256
"""The number of ended answers that are remembered, so that their late deltas are dropped."""


class Position(Struct, gc=False):
    """The last delivered delta of an answer; `seq` is -1 if there is none yet.

    `base` is the room's seq at which the attempt started.
    """

    attempt: int
    seq: int
    base: int

    def precedes(self, attempt: int, seq: int) -> bool:
        """Return True if this is the position right before a delta."""
        return self.attempt == attempt and self.seq + 1 == seq


class Positions:
    """The position in the log (`seq`, -1 before the topic is ready) and in each answer."""

    def __init__(self) -> None:
        self.seq = -1
        self.answers: dict[UUID, Position] = {}
        self.ended: dict[UUID, None] = {}  # ordered by time; a set is not

    def end_answer(self, message: UUID) -> None:
        self.answers.pop(message, None)
        self.ended[message] = None
        if len(self.ended) > ENDED_ANSWERS:
            del self.ended[next(iter(self.ended))]

    def have_passed(self, seq: int, answers: dict[UUID, tuple[int, int]]) -> bool:
        """Return True if no later item can be part of a snapshot with these positions."""
        if self.seq < seq:
            return False
        for message, snapshot in answers.items():
            position = self.answers.get(message)
            reached = (0, -1) if position is None else (position.attempt, position.seq)
            if message not in self.ended and reached < snapshot:
                return False
        return True
