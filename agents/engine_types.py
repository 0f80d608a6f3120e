"""The words between those who want an answer and the engine that makes it.

Nothing here knows CrewAI or Django's models: a web process may import it for nothing.
"""

from dataclasses import dataclass, field
from typing import Final, Literal, get_args
from uuid import UUID

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

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
]
FAILURE_CODES: Final = frozenset(get_args(FailureCode))

SENTENCES: Final[dict[FailureCode, str | Promise]] = {
    "provider_unavailable": _("The model's provider cannot be reached right now. Try again soon."),
    "provider_refused": _("The model's provider refused the request. Ask an admin to check it."),
    "provider_garbled": _("The model's provider sent something that is not an answer. Try again."),
    "truncated": _("The answer broke off before its end. Try again."),
    "timeout": _("The answer took too long and was stopped. Try again, or ask for less."),
    "too_long": _("The answer grew too long and was stopped. Ask for less at once."),
    "budget": _("The budget for answers is used up. Ask an admin to raise it."),
    "worker_lost": _("The process that was answering went away. Try again."),
    "not_allowed": _("This persona may not answer here. Ask an admin to check its connection."),
    "internal": _("Something went wrong on our side. Try again; if it stays, tell an admin."),
}


@dataclass(frozen=True, slots=True)
class PersonaSpec:
    """All that the engine needs to know of a persona and of its connection, copied at the start."""

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


@dataclass(frozen=True, slots=True)
class Turn:
    """One line of the room as the persona hears it; `own` when the persona itself said it."""

    author: str
    kind: Literal["user", "persona"]
    own: bool
    text: str


@dataclass(frozen=True, slots=True)
class Limits:
    """Where an answer ends at the latest."""

    seconds: float = 300
    characters: int = 200_000
    tokens: int = 50_000
    tries: int = 3


MOST_TOKENS: Final = 2**31 - 1
"""The largest number that is kept. Providers are not bound to the truth, and stores have bounds."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What an answer cost, as the provider counted it."""

    input_tokens: int
    output_tokens: int

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            min(self.input_tokens + other.input_tokens, MOST_TOKENS),
            min(self.output_tokens + other.output_tokens, MOST_TOKENS),
        )


@dataclass(frozen=True, slots=True)
class Text:
    """The next piece of the answer."""

    text: str


def pace(told: int) -> float:
    """Return for how many seconds text gathers, once so many pieces of an answer have been told.

    Once it flows, every 90 ms is enough for whoever reads, and half the work for everybody else.
    """
    return 0.05 if told < 5 else 0.09


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """The persona has begun to use a tool."""

    call: str
    tool: str
    summary: str


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """The persona has used a tool."""

    call: str
    tool: str
    summary: str
    ms: int


@dataclass(frozen=True, slots=True)
class Finished:
    """The last part of every answer that did not fail: the pieces end to end, perhaps none."""

    text: str
    usage: Usage | None


Part = Text | ToolStarted | ToolFinished | Finished


class AnswerFailed(Exception):
    """The answer will not come. `detail` is fit for the room: it names no host, key or path.

    `retry_after` is what the provider asked for in seconds, and `usage` what it cost as far as that
    is known.
    """

    def __init__(
        self,
        code: FailureCode,
        detail: str | Promise | None = None,
        *,
        retry_after: float | None = None,
        usage: Usage | None = None,
    ) -> None:
        super().__init__(code)
        self.code: FailureCode = code
        self.detail = str(detail or SENTENCES[code])
        self.retry_after = retry_after
        self.usage = usage
