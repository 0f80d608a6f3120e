"""How long the first text of a model's answer is held, remembered per model and process."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

from agents.engine.stream.think_tags import FIRST_HOLD_SECONDS, HOLD_SECONDS, ThinkTagFilter
from agents.engine_types import PersonaSpec

MAX_MODELS: Final = 1_000

Model = tuple[UUID, str]
"""A connection and the name of a model."""

_hold_seconds: dict[Model, float | None] = {}
"""How long the first text of a model's next answer is held, after its last answer in this process.

None, until an end tag arrives, if that answer had an end tag of thoughts without a start tag.
"""


@contextmanager
def thought_filter(spec: PersonaSpec) -> Iterator[ThinkTagFilter]:
    """Yield the filter for one answer of the persona's model; on exit, remember what it found."""
    model = (spec.connection_id, spec.model)
    thoughts = ThinkTagFilter(hold_seconds=_hold_seconds.get(model, FIRST_HOLD_SECONDS))
    try:
        yield thoughts
    finally:
        if thoughts.has_passed:
            _hold_seconds.pop(model, None)  # the newest last
            _hold_seconds[model] = None if thoughts.has_orphan_end else HOLD_SECONDS
            if len(_hold_seconds) > MAX_MODELS:
                del _hold_seconds[next(iter(_hold_seconds))]
