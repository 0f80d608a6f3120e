"""The layout rules of a timeline: day lines, the unread line, grouping, states and their parts.

`layout.json` is the only source of the constants and mappings. This module applies them for the
server's HTML. The page receives the same data in a script and applies it in
`static/rooms/timeline/layout_rules.js`; tests/rooms/pages/test_layout_rules.py gives both the same
timelines and compares the results.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

from django.utils import timezone
from msgspec import Struct, json


class StateRules(Struct, frozen=True, forbid_unknown_fields=True):
    """The parts that a message shows in one state, and the form of each part."""

    busy: bool = False
    stop: str | None = None  # the button that ends the run: "stop" or "cancel"
    again: str | None = None  # the button that starts a new run: "retry" or "answer_again"
    figures: bool = False  # duration and tokens of the run


class LayoutRules(Struct, frozen=True, forbid_unknown_fields=True):
    """The content of `layout.json`."""

    continue_within_seconds: int
    state_of_status: dict[str, str]
    state_of_run: dict[str, str]  # instead of that of the status, for an unfinished answer
    retryable_run_states: list[str]
    states: dict[str, StateRules]
    fold_steps_from: int
    step_signs: dict[str, str]  # by state of a call; calls in other states are not shown
    argument_lines: int
    argument_columns: int


_DATA: Final = (Path(__file__).parent / "layout.json").read_bytes()
RULES: Final = json.decode(_DATA, type=LayoutRules)
RULES_FOR_SCRIPTS: Final[dict[str, object]] = json.decode(_DATA)


class Placed(Struct, frozen=True):
    """The fields of a message that decide its place. `at` is None for a queued run."""

    author_kind: str
    author_id: UUID | None
    seq: int
    at: datetime | None


class Placement(Struct, frozen=True):
    """The lines before a message, and whether it continues the message before it."""

    starts_day: bool
    starts_unread: bool
    continued: bool


def place(items: Sequence[Placed], reader_id: UUID, read_seq: int | None) -> list[Placement]:
    """Return the placement of each item, in the current time zone.

    The unread line stands before the first message of another author after `read_seq`; None
    places no unread line.
    """
    placements = []
    before: Placed | None = None
    for item in items:
        starts_day = item.at is not None and (
            before is None or before.at is None or _day(before.at) != _day(item.at)
        )
        starts_unread = read_seq is not None and item.seq > read_seq and item.author_id != reader_id
        if starts_unread:
            read_seq = None
        continued = not starts_day and not starts_unread and _continues(before, item)
        placements.append(Placement(starts_day, starts_unread, continued))
        before = item
    return placements


def _day(at: datetime) -> date:
    return timezone.localdate(at)


def _continues(before: Placed | None, item: Placed) -> bool:
    """Return True if the same person wrote both messages within a few minutes."""
    if before is None or before.at is None or item.at is None or item.author_id is None:
        return False
    both_people = before.author_kind == item.author_kind == "user"
    soon = item.at - before.at < timedelta(seconds=RULES.continue_within_seconds)
    return both_people and before.author_id == item.author_id and soon
