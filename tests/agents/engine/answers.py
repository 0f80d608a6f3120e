"""Helpers of the engine's tests: a persona, a turn, and an answer with all of its parts."""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from agents.engine import answer
from agents.engine_types import (
    AnswerFailed,
    Finished,
    Limits,
    Part,
    PersonaSpec,
    Surroundings,
    Text,
    Turn,
)
from tests.deadlines import DEADLINE

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
class CollectedAnswer:
    """The parts of one answer, and its failure."""

    texts: list[str] = field(default_factory=list)
    finished: Finished | None = None
    failed: AnswerFailed | None = None

    @property
    def text(self) -> str:
        return "".join(self.texts)

    @property
    def code(self) -> str | None:
        return self.failed.code if self.failed else None

    def add(self, part: Part) -> None:
        if isinstance(part, Text):
            self.texts.append(part.text)
        elif isinstance(part, Finished):
            self.finished = part


def persona(base_url: str, model: str, **changes: Any) -> PersonaSpec:
    """Return PERSONA with this provider and model."""
    return replace(PERSONA, base_url=base_url, model=model, **changes)


def user_turn(text: str, author: str = "Alice") -> Turn:
    """Return a turn of a user."""
    return Turn(author=author, kind="user", own=False, text=text)


async def ask(
    spec: PersonaSpec,
    question: str | Sequence[Turn] = "Hello?",
    limits: Limits | None = None,
    room: Surroundings | None = None,
) -> CollectedAnswer:
    """Collect a whole answer. An AnswerFailed is returned in the result, not raised."""
    turns = [user_turn(question)] if isinstance(question, str) else question
    result = CollectedAnswer()
    try:
        async with aclosing(
            answer(spec, turns, limits=limits or Limits(seconds=DEADLINE), room=room)
        ) as parts:
            async for part in parts:
                result.add(part)
    except AnswerFailed as failed:
        result.failed = failed
    return result
