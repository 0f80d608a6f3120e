"""Reads what a run has sent to its model: the form of a record, and the requests of a run.

A record has the digests of the messages that it quotes, and no copy of them. A text is shown only
if the message still has it: after an edit or a deletion, nothing has to be removed from records.
The requests after the first are the first one with what the run has stored about its tools.
"""

import zlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import chain
from typing import Any, Final, Literal
from uuid import UUID

import msgspec
from django.utils import timezone
from msgspec import UNSET, Struct, UnsetType

from accounts.database import delete_in_batches
from accounts.fields import Timestamp, format_timestamp
from agents.engine_types import Limits, speaker_line
from agents.tools import result_words
from rooms.models import (
    OPEN_CALLS,
    Message,
    RoomSummary,
    Run,
    RunPrompt,
    RunState,
    SteerState,
    ToolCall,
)
from rooms.protocol.call_words import shown_title
from rooms.runs.crews import trees
from rooms.runs.prompts.budget import estimate_tokens, first_words
from rooms.runs.steps.past import past_of

RETENTION: Final = timedelta(days=30)
TOOL_REQUESTS: Final = Limits().tool_requests


class Quoted(Struct, frozen=True):
    """In place of a text of a prompt: the id of the message or of the summary that has it."""

    of: Literal["message", "pin", "summary"]
    id: UUID
    digest: str


Piece = str | Quoted

MaySee = Callable[[Sequence[ToolCall]], Collection[UUID]]
"""Returns those of the calls of a run whose arguments and results the reader may see."""


class Section(Struct, frozen=True):
    """One message of the first request."""

    kind: str
    role: str
    pieces: list[Piece]


class SentTool(Struct, frozen=True):
    """A tool that the model could call; with `own`, one of our own tools."""

    name: str
    title: str
    description: str
    parameters: dict[str, Any]
    own: bool = False


class Prompt(Struct, frozen=True):
    """The content of a record."""

    model: str
    temperature: float | None
    max_output_tokens: int | None
    sections: list[Section]
    tools: list[SentTool] = []


class SentCall(Struct, frozen=True):
    """A tool call in an answer of the model; `arguments` are JSON text."""

    id: str
    name: str
    arguments: str


class SentMessage(Struct, frozen=True, kw_only=True):
    """One message of a request. `tokens` is estimated.

    `kind` says who has made it: the `persona` and our rules, the `room`, its `summary`, a `turn` of
    a person or a persona, an `answer` of the model in this run, a `result` of a tool, or a
    `steering` line of a member. `message` is the message of the room that is quoted. With
    `removed`, a text was deleted or changed since, or the reader may not see it, and is left out.
    """

    kind: str
    role: str
    content: str
    tokens: int
    message: UUID | None = None
    removed: bool = False
    calls: list[SentCall] | UnsetType = UNSET
    call: str | UnsetType = UNSET


class SentRequest(Struct, frozen=True, kw_only=True):
    """One request to the model; `number` counts from 1 in the run."""

    number: int
    attempt: int
    sent_at: Timestamp
    model: str
    temperature: float | None
    max_output_tokens: int | None
    messages: list[SentMessage]
    tools: list[SentTool]
    input_tokens: int | None = None
    output_tokens: int | None = None


def digest_of(text: str) -> str:
    """Return what a record has of a text."""
    return sha256(text.encode()).hexdigest()[:32]


def requests_of(run: Run, may_see: MaySee) -> list[SentRequest]:
    """Return the requests that a run has sent, oldest first; at most seven queries and `may_see`.

    The arguments and the results of calls that the reader may not see are left out, those of the
    call that has asked for the run, too. Empty if the run has not started, or if its records were
    deleted after RETENTION.
    """
    records = [_Record(row) for row in run.prompts.order_by("attempt")]
    if not records:
        return []
    history = _History(run, may_see)
    texts = _Texts(run, records, may_see)
    count = max(records[-1].row.request + 1, history.answered + (not history.is_waiting))
    return [_request(number, records, history, texts) for number in range(count)]


def _request(
    number: int, records: Sequence["_Record"], history: "_History", texts: "_Texts"
) -> SentRequest:
    """Return a request, which counts from 0 here."""
    attempts = (record for record in reversed(records) if record.row.request <= number)
    sent_in = next(attempts, records[0])
    prompt = sent_in.prompt
    tools = [_shown(tool) for tool in prompt.tools] if number < TOOL_REQUESTS else []
    answer = history.requests.get(number)
    return SentRequest(
        number=number + 1,
        attempt=sent_in.row.attempt,
        sent_at=format_timestamp(history.sent_at(number) or sent_in.row.created_at),
        model=prompt.model,
        temperature=prompt.temperature,
        max_output_tokens=prompt.max_output_tokens,
        messages=[
            *map(texts.message, prompt.sections),
            *chain.from_iterable(
                history.messages_after(each, as_text=not tools) for each in range(number)
            ),
        ],
        tools=tools,
        input_tokens=answer.input_tokens if answer else None,
        output_tokens=answer.output_tokens if answer else None,
    )


def _shown(tool: SentTool) -> SentTool:
    title = shown_title(tool.name, tool.title, own=tool.own)
    return msgspec.structs.replace(tool, title=title)


class _Record:
    """A row with its decoded content."""

    def __init__(self, row: RunPrompt) -> None:
        self.row = row
        self.prompt = msgspec.json.decode(zlib.decompress(row.content), type=Prompt)

    def quotes(self) -> Iterator[Quoted]:
        """Yield what the record quotes."""
        for section in self.prompt.sections:
            yield from (piece for piece in section.pieces if isinstance(piece, Quoted))


class _Texts:
    """The texts that records quote, as they are now; those that were removed are left out.

    So is the question of the run that has asked for this one, if the reader may not see the
    arguments of its call.
    """

    def __init__(self, run: Run, records: Iterable[_Record], may_see: MaySee) -> None:
        quotes = list(chain.from_iterable(record.quotes() for record in records))
        messages = {each.id for each in quotes if each.of != "summary"}
        summaries = {each.id for each in quotes if each.of == "summary"}
        of_room = Message.objects.filter(room=run.room_id, pk__in=messages)
        self._texts: dict[UUID, str] = dict(of_room.values_list("pk", "text"))
        # Lines that were applied before the first request are turns of it.
        self._texts |= dict(run.steering.values_list("pk", "text"))
        if (asking := trees.asking(run)) and asking.call.pk in may_see([asking.call]):
            self._texts[asking.call.pk] = asking.question
        written = RoomSummary.objects.written().filter(room=run.room_id, pk__in=summaries)
        self._texts |= dict(written.values_list("pk", "text"))

    def message(self, section: Section) -> SentMessage:
        """Return one message of a request."""
        texts = [self._text(piece) for piece in section.pieces]
        content = "".join(text or "" for text in texts)
        quoted = [piece.id for piece in section.pieces if isinstance(piece, Quoted)]
        return SentMessage(
            kind=section.kind,
            role=section.role,
            content=content,
            tokens=estimate_tokens(content),
            message=quoted[0] if section.kind == "turn" and quoted else None,
            removed=None in texts,
        )

    def _text(self, piece: Piece) -> str | None:
        """Return the text of a piece, None if it is not what was sent."""
        if isinstance(piece, str):
            return piece
        text = self._texts.get(piece.id, "")
        text = first_words(text) if piece.of == "pin" else text
        return text if digest_of(text) == piece.digest else None


class _History:
    """What a run has stored between its first request and its end; four queries at most.

    The deletion of an answer has emptied the texts, the arguments and the results.
    """

    def __init__(self, run: Run, may_see: MaySee) -> None:
        self._is_deleted = run.answer is not None and run.answer.deleted_at is not None
        requests = list(run.requests.order_by("number"))
        calls = list(run.calls.order_by("request", "position")) if requests else []
        lines = list(run.steering.filter(state=SteerState.APPLIED)) if requests else []
        past = past_of(requests, calls, lines, {})
        self._seen = may_see(calls) if calls else ()
        self.requests = {request.number: request for request in requests}
        self._past = {each.number: each for each in past}
        self._ends: defaultdict[int, list[datetime]] = defaultdict(list)
        for call in calls:
            if call.started_at and call.ms is not None:
                end = call.started_at + timedelta(milliseconds=call.ms)
                self._ends[call.request].append(end)
        is_open = any(call.state in OPEN_CALLS for call in calls)
        self.is_waiting = is_open or run.state == RunState.QUEUED

    @property
    def answered(self) -> int:
        """The number of requests that the run has not ended with."""
        return len(self.requests)

    def sent_at(self, number: int) -> datetime | None:
        """Return when a request was sent at the earliest: when the one before it had ended."""
        before = self.requests.get(number - 1)
        return max([before.created_at, *self._ends[before.number]]) if before else None

    def messages_after(self, number: int, *, as_text: bool) -> Iterator[SentMessage]:
        """Yield what follows on a request: its answer, the results of its calls, and steering.

        With `as_text`, as a later request without tools has it: see `result_words.written`.
        """
        past = self._past.get(number)
        if past is None:
            return
        step = sum(bool(each.calls) for each in self._past.values() if each.number <= number)
        hidden = {each.request.id for each in past.calls}.difference(self._seen)
        calls = [
            SentCall(c.call_id, c.name, "" if c.id in hidden else c.arguments)
            for c in (each.request for each in past.calls)
        ]
        if as_text:
            calls = []
        if calls or past.text.strip():
            yield self._message(
                "answer", "assistant", past.text, removed=bool(hidden), calls=calls or UNSET
            )
        for call in past.calls:
            request, is_hidden = call.request, call.request.id in hidden
            text = result_words.for_model(request.name, result_words.of_call(call))
            if as_text:
                text = result_words.written(step, request.name, request.arguments, text)
            yield self._message(
                *("result", "user" if as_text else "tool", "" if is_hidden else text),
                removed=is_hidden,
                call=UNSET if as_text else request.call_id,
            )
        for line in past.steering:
            text = f"{speaker_line('user', line.author)}\n{line.text}"
            yield self._message("steering", "user", text)

    def _message(
        self, kind: str, role: str, text: str, *, removed: bool = False, **fields: Any
    ) -> SentMessage:
        tokens = estimate_tokens(text)
        for call in fields.get("calls") or ():
            tokens += estimate_tokens(call.name + call.arguments)
        return SentMessage(
            kind=kind,
            role=role,
            content=text,
            tokens=tokens,
            removed=removed or self._is_deleted,
            **fields,
        )


def purge_prompts() -> int:
    """Delete the records that are older than RETENTION; return their number."""
    return delete_in_batches(RunPrompt.objects.filter(created_at__lt=timezone.now() - RETENTION))
