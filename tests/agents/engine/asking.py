"""How the engine's tests ask: one persona, one question, and all that came back."""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from agents.engine import answer
from agents.engine_types import AnswerFailed, Finished, Limits, Part, PersonaSpec, Text, Turn

KEY = "sk-CANARY-d41d8cd98f00"
TEAM = UUID(int=1)
PERSONA = PersonaSpec(
    team_id=TEAM,
    connection_id=UUID(int=2),
    kind="openai",
    model="echo",
    name="Dana",
    handle="dana",
    role="Gardener",
    goal="help things grow",
    backstory="You have kept a garden for forty years.",
    key=KEY,
)


@dataclass
class Heard:
    """What an answer came to."""

    pieces: list[str] = field(default_factory=list)
    finished: Finished | None = None
    failed: AnswerFailed | None = None

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def code(self) -> str | None:
        return self.failed.code if self.failed else None

    def take(self, part: Part) -> None:
        if isinstance(part, Text):
            self.pieces.append(part.text)
        elif isinstance(part, Finished):
            self.finished = part


def persona(base_url: str, model: str, **changes: Any) -> PersonaSpec:
    """Return the tests' persona on that provider and model."""
    return replace(PERSONA, base_url=base_url, model=model, **changes)


def said(text: str, author: str = "Alice") -> Turn:
    """Return a turn of a person."""
    return Turn(author=author, kind="user", own=False, text=text)


async def ask(
    spec: PersonaSpec, question: str | Sequence[Turn] = "Hello?", limits: Limits | None = None
) -> Heard:
    """Ask and collect everything, the failure included."""
    turns = [said(question)] if isinstance(question, str) else question
    heard = Heard()
    try:
        async with aclosing(answer(spec, turns, limits=limits or Limits(seconds=20))) as parts:
            async for part in parts:
                heard.take(part)
    except AnswerFailed as failed:
        heard.failed = failed
    return heard
