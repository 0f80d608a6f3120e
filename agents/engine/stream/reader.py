"""Reads one answer from the plain bytes of a response, without input or output of its own."""

from collections.abc import Iterator

from agents.engine import failures
from agents.engine.stream.chat import (
    ChatNormaliser,
    ErrorReport,
    FinishReason,
    StreamDone,
    TextDelta,
    ToolCallDelta,
)
from agents.engine.stream.json_data import UnreadableData
from agents.engine.stream.sse import EventTooLarge, SseEvent, SseParser
from agents.engine.stream.surrogates import SurrogateJoiner
from agents.engine.stream.think_tags import ThinkTagFilter
from agents.engine_types import AnswerFailed, Usage

Delta = TextDelta | ToolCallDelta

MAX_EVENT_BYTES = 1024 * 1024
MAX_STREAM_BYTES = 32 * 1024 * 1024
"""Far above the size of any answer: bounds data that is not shown, for example reasoning."""


class AnswerReader:
    """Turns the bytes of one response into the deltas of the answer, and notes how it ends.

    The answer has `ended` after a finish reason or `[DONE]`. Then nothing makes it fail: an error,
    broken data, or too many bytes only end the reading, and `done` is True. `deltas` counts the
    events with text or with a fragment of a tool call.
    """

    def __init__(self, thoughts: ThinkTagFilter) -> None:
        self.finish_reason: str | None = None
        self.usage: Usage | None = None
        self.done = False
        self.deltas = 0
        self._bytes = 0
        self._parser = SseParser(MAX_EVENT_BYTES)
        self._chat = ChatNormaliser()
        self._surrogates = SurrogateJoiner()
        self._thoughts = thoughts

    @property
    def ended(self) -> bool:
        return self.done or self.finish_reason is not None

    @property
    def reasoning(self) -> str:
        """The reasoning that the provider wants back, if the model calls tools."""
        return "".join(self._chat.reasoning)

    def feed(self, data: bytes) -> Iterator[Delta]:
        """Yield the deltas in these bytes; raise AnswerFailed after the deltas before the fault."""
        self._bytes += len(data)
        try:
            if self._bytes > MAX_STREAM_BYTES:
                raise EventTooLarge
            for event in self._parser.feed(data):
                yield from self._take(event)
        except (EventTooLarge, UnreadableData):
            self._fail(AnswerFailed("provider_garbled"))

    def end_hold(self) -> Iterator[Delta]:
        """Yield the text that waited for an end tag of thoughts."""
        if text := self._thoughts.end_hold():
            yield TextDelta(text)

    def finish(self, *, cut: bool) -> Iterator[Delta]:
        """Yield what is left at the end of the body; with `cut`, an error has ended the body.

        Raise AnswerFailed if the body was complete and the answer was not.
        """
        failure: AnswerFailed | None = None
        try:
            for event in self._parser.finish():
                yield from self._take(event)
        except (EventTooLarge, UnreadableData):
            failure = AnswerFailed("provider_garbled")
        except AnswerFailed as failed:
            failure = failed
        if text := self._thoughts.feed(self._surrogates.flush()) + self._thoughts.finish():
            yield TextDelta(text)
        if self.finish_reason is None and self._is_garbled():
            failure = failure or AnswerFailed("provider_garbled")
        elif self.ended:
            return
        if not cut:
            raise failure or AnswerFailed("truncated")

    def _take(self, event: SseEvent) -> Iterator[Delta]:
        for part in () if self.done else self._chat.feed(event):
            if isinstance(part, TextDelta):
                self.deltas += 1
                if shown := self._thoughts.feed(self._surrogates.feed(part.text)):
                    yield TextDelta(shown)
            elif isinstance(part, ToolCallDelta):
                self.deltas += 1
                yield part
            else:
                self._note(part)

    def _note(self, part: Usage | FinishReason | StreamDone | ErrorReport) -> None:
        if isinstance(part, Usage):
            self.usage = _latest(self.usage, part)
        elif isinstance(part, FinishReason):
            self.finish_reason = self.finish_reason or part.reason
        elif isinstance(part, StreamDone):
            self.done = True
        else:
            self._fail(failures.from_error(part))

    def _is_garbled(self) -> bool:
        """Return True if the body had content, but nothing in it was an event of an answer."""
        return not self._chat.understood and bool(
            self._chat.unreadable or self._parser.unknown_lines
        )

    def _fail(self, failure: AnswerFailed) -> None:
        """Raise the failure, unless the answer has ended."""
        if not self.ended:
            raise failure
        self.done = True


def _latest(known: Usage | None, report: Usage) -> Usage:
    """Return the last reported counts; Anthropic reports the input only at the start."""
    if known is None or report.input_tokens:
        return report
    return Usage(known.input_tokens, report.output_tokens)
