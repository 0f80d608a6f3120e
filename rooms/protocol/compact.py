"""The subprotocol `maru.v1.compact`: deltas that name their answer by a number.

`run.started` and the unfinished answers of a snapshot tell the number as `stream`. All other frames
are those of `maru.v1`.
"""

from collections.abc import Callable
from itertools import count
from typing import Final
from uuid import UUID

import msgspec
from msgspec import Raw, Struct

SUBPROTOCOL: Final = "maru.v1.compact"

_numbers = count(1)


class StreamNumbers:
    """The numbers of the unfinished answers of one room. Each attempt has a number of its own.

    A number is unique in the process, so that a frame is encoded once for all its connections.
    """

    def __init__(self) -> None:
        self._of_answers: dict[UUID, tuple[int, int]] = {}  # the last attempt and its number

    def of(self, message: UUID, attempt: int) -> int:
        """Return the number of an attempt of an unfinished answer; deltas may follow."""
        number = self.of_any(message, attempt)
        if self._of_answers.get(message, (0, 0))[0] < attempt:
            self._of_answers[message] = (attempt, number)
        return number

    def of_any(self, message: UUID, attempt: int) -> int:
        """Return the number of an attempt; of one that has ended, a number without deltas."""
        last, number = self._of_answers.get(message, (0, 0))
        return number if last == attempt else next(_numbers)

    def end(self, message: UUID) -> None:
        """Forget an answer that has ended."""
        self._of_answers.pop(message, None)


class _Text(Struct):
    text: Raw


class _Run(Struct):
    answer: UUID
    attempt: int


class _RunStarted(Struct):
    run: _Run


_text = msgspec.json.Decoder(_Text)
_started = msgspec.json.Decoder(_RunStarted)


def compact_delta(delta: bytes, stream: int, seq: int) -> bytes:
    """Return the compact form of a `message.delta`."""
    return b'{"d":[%d,%d,%b]}' % (stream, seq, _text.decode(delta).text)


def compact_started(event: bytes, number_of: Callable[[UUID, int], int]) -> bytes:
    """Return a `run.started` with the number of its attempt."""
    run = _started.decode(event).run
    return b'%b,"stream":%d}' % (event[:-1], number_of(run.answer, run.attempt))
