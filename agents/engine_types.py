"""The types that the engine and its callers share.

This module imports neither CrewAI nor Django's models, so a web process can import it cheaply.
"""

import unicodedata
from dataclasses import dataclass, field
from typing import Final, Literal
from uuid import UUID

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from agents.tool_types import ToolSpec

FailureCode = Literal[
    "provider_unavailable",
    "provider_refused",
    "provider_garbled",
    "truncated",
    "timeout",
    "too_long",
    "budget",
    "worker_lost",
    "not_allowed",
    "internal",
    "tool_limit",
]

FAILURE_SENTENCES: Final[dict[FailureCode, str | Promise]] = {
    "provider_unavailable": _("The model provider cannot be reached. Try again in a few minutes."),
    "provider_refused": _(
        "The model provider refused the request. Ask a team admin to check the connection."
    ),
    "provider_garbled": _("The model provider sent an answer that cannot be read. Try again."),
    "truncated": _("The answer ended too early. Try again."),
    "timeout": _(
        "The answer took too long, so it was stopped. Try again, or ask for a shorter answer."
    ),
    "too_long": _("The answer became too long, so it was stopped. Ask for a shorter answer."),
    "budget": _("The team has used up its budget for answers. Ask a team admin to raise it."),
    "worker_lost": _("A part of the server stopped during the answer. Try again."),
    "not_allowed": _("This persona cannot answer here. Ask a team admin to check its connection."),
    "tool_limit": _("The persona used too many tools, so it was stopped. Ask for less at a time."),
    "internal": _(
        "Something went wrong on the server. Try again. If it happens again, tell a team admin."
    ),
}

FailureReason = Literal["quota", "key", "model", "filter", "key_unreadable"]

REASON_SENTENCES: Final[dict[FailureReason, str | Promise]] = {
    "quota": _(
        "The account at the model provider has no credit left. "
        "Ask a team admin to check the account."
    ),
    "key": _(
        "The model provider refused the key of this connection. Ask a team admin to check it."
    ),
    "model": _("The model provider does not know this model. Ask a team admin to check its name."),
    "filter": _(
        "A filter of the model provider blocked this answer. Rephrase your question and try again."
    ),
    "key_unreadable": _(
        "The key of its connection cannot be read. Ask a team admin to enter it again."
    ),
}
"""Reasons that are more exact than a code, each with its sentence."""


@dataclass(frozen=True, slots=True)
class PersonaSpec:
    """A persona and its connection, copied when a run starts. `repr` does not show the key.

    `connect_url` is the page that gives a demo persona a model; empty for other personas.
    """

    team_id: UUID
    connection_id: UUID
    kind: Literal["openai", "demo"]
    model: str
    name: str
    handle: str
    role: str
    goal: str
    backstory: str = ""
    instructions: str = ""
    base_url: str = ""
    key: str = field(default="", repr=False)
    temperature: float | None = None
    max_output_tokens: int | None = None
    connect_url: str = ""
    tools: tuple[ToolSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of the room, as part of the prompt; `own` if this persona wrote the message.

    `message` is the id of the message or of the steering line, so that a record of the prompt can
    name it.
    """

    author: str
    kind: Literal["user", "persona"]
    own: bool
    text: str
    message: UUID | None = None


@dataclass(frozen=True, slots=True)
class Present:
    """A person or a persona of the room, with a label that no other one has."""

    label: str
    kind: Literal["user", "persona"]
    own: bool = False
    role: str = ""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a model has written about the messages of the room up to a seq."""

    id: UUID
    up_to_seq: int
    text: str


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a model gets of the room besides the turns. All texts but `task` are those of people.

    `name` is empty for a direct room. `asker` is the label of the person who asked. `has_others` is
    True if the room has more people than `present`. `around` are turns of the room; there are some
    only if the conversation is a thread. `task` is what the room asks for behind the last turn, in
    our own words; empty if the last turn is the question.
    """

    name: str
    topic: str
    asker: str
    present: tuple[Present, ...] = ()
    has_others: bool = False
    pinned: tuple[Turn, ...] = ()
    summary: Summary | None = None
    is_thread: bool = False
    around: tuple[Turn, ...] = ()
    task: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds of one answer; `seconds` covers all attempts and the pauses between them."""

    seconds: float = 300
    characters: int = 200_000
    tokens: int = 50_000
    max_attempts: int = 3
    tool_requests: int = 8
    """The requests to the model that may ask for tools; one more goes without tools."""
    calls_per_request: int = 16
    calls: int = 48
    call_seconds: float = 30


MAX_LABEL_LENGTH: Final = 90
"""A name and a handle of 40 characters each; see `accounts.names.tell_apart`."""

MAX_TOKEN_COUNT: Final = 2**31 - 1
"""Larger counts are stored as this value: the database column is a signed 32-bit integer, and a
provider can send any number."""


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens of one answer, as the provider counted them."""

    input_tokens: int
    output_tokens: int

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            min(self.input_tokens + other.input_tokens, MAX_TOKEN_COUNT),
            min(self.output_tokens + other.output_tokens, MAX_TOKEN_COUNT),
        )


def speaker_line(kind: Literal["user", "persona"], label: str) -> str:
    """Return the line that names a speaker: it stands before the words of the speaker."""
    return f"[{'person' if kind == 'user' else 'persona'} {plain_label(label)}]"


def plain_label(name: str) -> str:
    """Return the name without line breaks and brackets, so that it cannot forge a turn's header."""
    plain = (" " if unicodedata.category(c)[0] in "CZ" or c in "[]" else c for c in name)
    return " ".join("".join(plain).split())[:MAX_LABEL_LENGTH] or "somebody"


def batch_seconds(sent: int) -> float:
    """Return the number of seconds to collect text before the next batch, after `sent` batches.

    The first five batches take 50 ms each, so that an answer starts to appear quickly. Later
    batches take 90 ms: users see no difference, and every process handles about half the events.
    """
    return 0.05 if sent < 5 else 0.09


@dataclass(frozen=True, slots=True)
class Text:
    """The next text of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """The persona has started a tool call."""

    call: str
    tool: str
    summary: str


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """The tool call has returned after `ms` milliseconds."""

    call: str
    tool: str
    summary: str
    ms: int


@dataclass(frozen=True, slots=True)
class Finished:
    """The last part of a successful answer; `text` is every `Text` part joined, possibly empty."""

    text: str
    usage: Usage | None


@dataclass(frozen=True, slots=True)
class Suspended:
    """The last part of an answer that waits for people or for another run.

    `text` is every `Text` part joined. All calls that may run have ended.
    """

    text: str
    usage: Usage | None


Part = Text | ToolStarted | ToolFinished | Finished | Suspended


class AnswerFailed(Exception):
    """The answer failed.

    The sentence for the room is worded when it is shown: see `rooms.protocol.failures`. `reason` is
    a key of its sentences, or empty if the code says enough; `persona` is the name in the sentence.
    `retry_after` is the delay in seconds that the provider requested. `usage` holds the tokens that
    are known so far.
    """

    def __init__(
        self,
        code: FailureCode,
        reason: str = "",
        *,
        persona: str = "",
        retry_after: float | None = None,
        usage: Usage | None = None,
    ) -> None:
        super().__init__(code)
        self.code: FailureCode = code
        self.reason = reason
        self.persona = persona
        self.retry_after = retry_after
        self.usage = usage
