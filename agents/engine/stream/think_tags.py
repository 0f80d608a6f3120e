"""Keeps the thoughts of a model, which some providers send in the text, apart from the answer.

A model writes its thoughts first, between two tags. So tags count only before the first word of the
answer, and never in code. Prompt templates often open the thoughts themselves. Then the text begins
with thoughts, and only an end tag shows where they end. Text that was shown cannot be taken back,
so the first text of an answer is held for a short time: an end tag that arrives in this time
removes the text before it. If the tag arrives later, the text stays as it is, and `has_orphan_end`
tells the caller to hold the next answer of the model until its end tag. A model that has answered
without such a tag is held for a fraction of the time, because people wait for the first text.
"""

import re
from typing import Final

FIRST_HOLD_SECONDS: Final = 0.15
"""How long the first text of a model's first answer is held."""
HOLD_SECONDS: Final = 0.02
"""How long the first text is held if the last answer of the model had no orphan end tag."""
MAX_HELD: Final = 64 * 1024
"""Characters that are held at most while an end tag may follow."""
MAX_BLANK: Final = 1_000
"""White space before the first word, or before a tag, that is held at most."""

_NAMES: Final = (
    "think",
    "thinking",
    "thought",
    "thoughts",
    "reasoning",
    "reflection",
    "seed:think",
    "longcat_think",
    "antthinking",
)
_PAIRS: Final = {
    **{f"<{name}>": f"</{name}>" for name in _NAMES},
    "[think]": "[/think]",
    "◁think▷": "◁/think▷",
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "<|start_thinking|>": "<|end_thinking|>",
    "<|channel|>analysis<|message|>": "<|channel|>final<|message|>",
}
_ENDS: Final = tuple(_PAIRS.values())
_TAGS: Final = (*_PAIRS, *_ENDS)
_LONGEST: Final = max(map(len, _TAGS))
_ANY_END: Final = re.compile("|".join(map(re.escape, _ENDS)), re.IGNORECASE)
_ANY_START: Final = re.compile("|".join(map(re.escape, _PAIRS)), re.IGNORECASE)
_END_LINE: Final = re.compile(
    rf"^[ \t]*(?:{_ANY_END.pattern})[ \t]*$\n", re.IGNORECASE | re.MULTILINE
)
_INDENTED: Final = re.compile(r"(?:^|\n)(?: {4}|\t)[ \t]*\Z")


class ThinkTagFilter:
    """Returns the text of one answer without the thoughts before it; tags may be cut anywhere.

    `has_orphan_end` becomes True if an end tag arrives without its start tag. `hold_seconds` is
    how long text is held before the caller calls `end_hold`; None: until an end tag arrives.
    """

    def __init__(self, *, hold_seconds: float | None = FIRST_HOLD_SECONDS) -> None:
        self.has_orphan_end = False
        self.hold_seconds = hold_seconds
        self._awaits_orphan = True
        self._held = ""
        self._searched = 0  # characters of `_held` that hold no orphan end tag
        self._end: str | None = None  # the end tag of the thoughts that are arriving
        self._found_thoughts = False
        self._passes = False  # the answer has begun

    @property
    def has_passed(self) -> bool:
        """True once text of the answer has been returned."""
        return self._passes

    @property
    def holds(self) -> bool:
        """True while text is held only because an orphan end tag may follow."""
        return (
            not self._passes
            and self._awaits_orphan
            and self._end is None
            and not self._may_begin_with_tag()
        )

    def feed(self, text: str) -> str:
        """Return the text that is known to be a part of the answer."""
        if self._passes:
            self._watch(text)
            return text
        self._held += text
        if len(self._held) > MAX_BLANK and self._held[:MAX_BLANK].isspace():
            return self._pass()
        while self._remove_tag():
            pass
        if self._end is not None:
            self._held = self._held[-_LONGEST - 1 :]  # an end tag may have begun
            return ""
        waits = self._awaits_orphan or self._may_begin_with_tag()
        return "" if waits and len(self._held) <= MAX_HELD else self._pass()

    def end_hold(self) -> str:
        """Return the text that is held for an orphan end tag; later text is not held for one."""
        holds, self._awaits_orphan = self.holds, False
        return self._pass() if holds else ""

    def finish(self) -> str:
        """Return the rest at the end of the answer. Thoughts without an end tag are no answer."""
        return "" if self._passes or self._end is not None else self._pass()

    def _pass(self) -> str:
        """Return all that is held; from now on, text passes."""
        text, self._held, self._passes = self._held, "", True
        if self._found_thoughts:
            text = text.lstrip()
        self._watch(text)
        return text

    def _watch(self, text: str) -> None:
        """Look for an orphan end tag in text that passes. Such a tag has a line of its own."""
        if self.has_orphan_end or self._found_thoughts:
            return
        self._held = (self._held + text)[-_LONGEST - 2 - len(text) :]
        self.has_orphan_end = bool(_END_LINE.search(self._held))

    def _remove_tag(self) -> bool:
        """Remove one tag, with the thoughts that it ends; return False if there is none."""
        if self._end is None:
            start = self._start()
            if start is None:
                return False
            first = self._held[start : start + _LONGEST].lower()
            for begin, end in _PAIRS.items():
                if first.startswith(begin):
                    self._end, self._held = end, self._held[start + len(begin) :]
                    return True
            position = self._find_orphan_end()
            self.has_orphan_end = self.has_orphan_end or position is not None
        else:
            position = self._find_end(self._end)
        if position is None:
            return False
        self._held, self._searched = self._held[position:], 0
        self._end, self._found_thoughts, self._awaits_orphan = None, True, False
        return True

    def _start(self) -> int | None:
        """Return where the first word is held, or None if it is indented as code."""
        start = len(self._held) - len(self._held.lstrip())
        return None if _INDENTED.search(self._held[:start]) else start

    def _may_begin_with_tag(self) -> bool:
        """Return True if only white space, or a part of a tag, is held."""
        start = self._start()
        if start is None:
            return not self._held.strip()
        first = self._held[start : start + _LONGEST].lower()
        return any(tag.startswith(first) for tag in _TAGS)

    def _find_end(self, end: str) -> int | None:
        """Return the position after the end tag, unless the tag is quoted in backticks."""
        text = self._held.lower()
        found = text.find(end)
        while found >= 0 and text[found - 1 : found] == "`":
            if text[found + len(end) : found + len(end) + 1] != "`":
                # Without the next character it is unknown whether the tag is quoted.
                return None if found + len(end) == len(text) else found + len(end)
            found = text.find(end, found + 1)
        return found + len(end) if found >= 0 else None

    def _find_orphan_end(self) -> int | None:
        """Return the position after the first end tag that has no start tag and is not in code.

        After thoughts, only an end tag that stands before the answer is an orphan.
        """
        if not self._awaits_orphan:
            found = _ANY_END.match(self._held.lstrip())
            return len(self._held) - len(self._held.lstrip()) + found.end() if found else None
        for found in _ANY_END.finditer(self._held, max(0, self._searched - _LONGEST)):
            before = self._held[: found.start()]
            if not _ANY_START.search(before) and not _ends_in_code(before):
                return found.end()
        self._searched = len(self._held)
        return None


def _ends_in_code(text: str) -> bool:
    """Return True if Markdown that goes on after `text` is code."""
    *lines, last = text.split("\n")
    fences = sum(line.lstrip().startswith(("```", "~~~")) for line in lines)
    return fences % 2 == 1 or last.count("`") % 2 == 1 or last.startswith(("    ", "\t"))
