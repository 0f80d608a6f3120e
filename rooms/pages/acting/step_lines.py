"""The tool calls of an answer, each in one line; `static/rooms/acting/steps.js` shows the same."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from msgspec import UnsetType

from rooms.models import CallState, Denial
from rooms.pages.layout import RULES
from rooms.protocol.call_words import result_of, title_of
from rooms.protocol.payloads import Step


@dataclass(frozen=True, slots=True)
class StepLine:
    """A call: its state, an icon for the state, its title, and its result and duration in words."""

    call: UUID
    state: str
    sign: str
    title: str
    note: str


@dataclass(frozen=True, slots=True)
class StepLines:
    """The calls of an answer. `fold` is the line that stands for them; "" if they are shown."""

    rows: list[StepLine]
    fold: str = ""


def step_lines(steps: Sequence[Step], *, done: bool, asking: Collection[UUID] = ()) -> StepLines:
    """Return the lines of the calls; many are folded when the answer is `done`.

    Calls that have not begun have no lines, and neither have those that are `asking`: a card has
    them.
    """
    rows = [
        StepLine(
            step.call, step.state, RULES.step_signs[step.state], title_of(step), note_words(step)
        )
        for step in steps
        if step.state in RULES.step_signs and step.call not in asking
    ]
    if not done or len(rows) < RULES.fold_steps_from:
        return StepLines(rows)
    shown = {row.call for row in rows}
    time = duration_words(sum(step.ms or 0 for step in steps if step.call in shown))
    if time:
        fold = ngettext("%(count)s step, %(time)s", "%(count)s steps, %(time)s", len(rows))
    else:
        fold = ngettext("%(count)s step", "%(count)s steps", len(rows))
    return StepLines(rows, fold % {"count": len(rows), "time": time})


def note_words(step: Step) -> str:
    """Return the result of a call in a word, and its duration."""
    if step.state == CallState.UNKNOWN:
        return _("result unknown, not repeated")
    if step.state == CallState.DENIED:
        return denial_words(step.denial)
    word = result_of(step) or (_("failed") if step.state == CallState.FAILED else "")
    time = "" if step.ms is None else duration_words(step.ms)
    return ", ".join(part for part in (word, time) if part)


def denial_words(denial: str | UnsetType) -> str:
    """Return why a call was denied; without a reason, people have denied it."""
    if denial == Denial.CHANGED:
        return _("not carried out: the tool has changed")
    if denial == Denial.NOT_ALLOWED:
        return _("not carried out: the persona may not use this tool now")
    if denial == Denial.NO_DECIDER:
        return _("denied: nobody here may decide")
    if denial == Denial.EXPIRED:
        return _("denied: nobody decided in time")
    if denial == Denial.RUN_ENDED:
        return _("not carried out: the answer has ended")
    return _("denied")


def duration_words(ms: int) -> str:
    """Return a duration: "0.6 s", "8 s", "1:02", "1:02:03"; "" if it is too short to tell."""
    if ms >= 60_000:
        minutes, seconds = divmod(ms // 1000, 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
    tenths = (ms + 50) // 100
    if not tenths:
        return ""
    words = f"{tenths // 10}" if tenths % 10 == 0 else f"{tenths / 10:.1f}"
    return _("%(seconds)s s") % {"seconds": words}
