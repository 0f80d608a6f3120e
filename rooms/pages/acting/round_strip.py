"""Personas that answer a message in turn; `static/rooms/acting/round_strip.js` shows the same."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from django.utils import timezone
from django.utils.translation import gettext as _

from agents.models import Lattice, Pigment
from rooms.models import RoundState, RunState
from rooms.protocol.payloads import PersonaBody, RoundBody, RoundStep, RunBody

OPEN: Final = (RoundState.RUNNING.value, RoundState.PAUSED.value)
SIGNS: Final = {"running": "planks", "asking": "hand", "completed": "check", "failed": "alert"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StripStep:
    """A persona of a round: what it looks like, and how far its answer is, in words.

    `run` is set if the reader may stop the run (`stop`) or retry it (`again`).
    """

    persona: UUID
    name: str
    pigment: str
    lattice: str
    state: str
    sign: str
    words: str
    run: UUID | None
    stop: bool = False
    again: bool = False


@dataclass(frozen=True, slots=True)
class Strip:
    """A round; the reader may stop all of it if `may_stop`, and pass over a step if `may_skip`."""

    id: UUID | None
    steps: list[StripStep]
    may_stop: bool
    may_skip: bool


def round_strip(
    round_: RoundBody,
    personas: Mapping[UUID, PersonaBody],
    runs: Mapping[UUID, RunBody],
    *,
    may_stop: bool,
) -> Strip:
    """Return the strip of a round; `may_stop` says whether the reader may stop its runs."""
    steps = []
    is_next = round_.state in OPEN
    for step in round_.steps:
        run = runs.get(step.run) if step.run else None
        state = step_state(step, run)
        if state == "waiting":
            state, is_next = ("next" if is_next else "later"), False
        steps.append(_step(step, state, run, personas.get(step.persona), may_act=may_stop))
    is_paused = round_.state == RoundState.PAUSED
    return Strip(round_.id, steps, may_stop and round_.state in OPEN, may_stop and is_paused)


def step_state(step: RoundStep, run: RunBody | None) -> str:
    """Return the state of a step: for one that has begun, that of its run if it is known."""
    if step.state != "running" or run is None:
        return step.state
    return "asking" if run.state == RunState.WAITING else run.state


def _step(
    step: RoundStep, state: str, run: RunBody | None, persona: PersonaBody | None, *, may_act: bool
) -> StripStep:
    return StripStep(
        persona=step.persona,
        name=step.name,
        pigment=persona.pigment if persona else Pigment.MEOK.value,
        lattice=persona.lattice if persona else Lattice.GYEOKSAL.value,
        state=state,
        sign=SIGNS.get(state, ""),
        words=_words(state, run),
        run=step.run,
        stop=may_act and state in ("queued", "running", "asking"),
        again=may_act and state == "failed" and step.run is not None,
    )


def _words(state: str, run: RunBody | None) -> str:
    if state == "completed" and run is not None and run.ended_at is not None:
        at = timezone.localtime(datetime.fromisoformat(run.ended_at)).strftime("%H:%M")
        return _("Done %(time)s") % {"time": at}
    return {
        "next": _("Next"),
        "later": _("Later"),
        "queued": _("Queued"),
        "running": _("Answering"),
        "asking": _("Waiting for a decision"),
        "completed": _("Done"),
        "failed": _("Failed"),
        "cancelled": _("Stopped"),
        "skipped": _("Skipped"),
    }[state]
