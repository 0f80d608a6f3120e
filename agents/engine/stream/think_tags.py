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
MAX_TAGS: Final = 1_000
"""Tags that are removed from one answer at most."""

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
_FLAGS: Final = re.IGNORECASE | re.ASCII  # ASCII: "ſ" would match "s", and no tag has it
_STARTS_PATTERN: Final = "|".join(map(re.escape, _PAIRS))
_ENDS_PATTERN: Final = "|".join(map(re.escape, _ENDS))
_ANY_START: Final = re.compile(_STARTS_PATTERN, _FLAGS)
_ANY_END: Final = re.compile(_ENDS_PATTERN, _FLAGS)
# An end tag is quoted if it stands between two backticks. After a first backtick, the pattern waits
# for the next character.
_UNQUOTED: Final = {
    end: re.compile(rf"(?<!`){re.escape(end)}|{re.escape(end)}(?=[^`])", _FLAGS) for end in _ENDS
}
# What decides about an orphan end tag: lines and backticks tell whether it is in code.
_MARK: Final = re.compile(
    rf"(?P<line>\n)|(?P<ticks>`+)|(?P<end>{_ENDS_PATTERN})|(?P<start>{_STARTS_PATTERN})", _FLAGS
)
_FENCE: Final = re.compile(r"[^\S\n]*(?:```|~~~)")
_END_LINE: Final = re.compile(rf"\n[ \t]{{0,16}}(?:{_ENDS_PATTERN})[ \t]{{0,16}}\n", _FLAGS)
_LONGEST_LINE: Final = _LONGEST + 34
_BLANK: Final = re.compile(rf"\s{{0,{MAX_BLANK}}}")
_INDENTED: Final = re.compile(r"(?:^|\n)(?: {4}|\t)[ \t]*\Z")


class ThinkTagFilter:
    """Returns the text of one answer without the thoughts before it; tags may be cut anywhere.

    `has_orphan_end` becomes True if an end tag arrives without its start tag. `hold_seconds` is
    how long text is held before the caller calls `end_hold`; None: until an end tag arrives.

    The time is linear in the length of the text, however it is cut: a provider can send anything,
    and the worker's event loop serves other teams as well.
    """

    def __init__(self, *, hold_seconds: float | None = FIRST_HOLD_SECONDS) -> None:
        self.has_orphan_end = False
        self.hold_seconds = hold_seconds
        self._awaits_orphan = True
        self._held = ""
        self._scan = _OrphanScan()
        self._end: str | None = None  # the end tag of the thoughts that are arriving
        self._tags = 0
        self._found_thoughts = False
        self._passes = False  # the answer has begun
        self._watched = 0  # characters that have passed under `_watch`

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
        position = 0
        while (after := self._take_tag(position)) is not None:
            position = after
        self._held = self._held[position:]
        if self._end is not None:
            self._held = self._held[-_LONGEST - 1 :]  # an end tag may have begun
            return ""
        waits = self._awaits_orphan or self._may_begin_with_tag()
        is_blank = len(self._held) > MAX_BLANK and self._held[:MAX_BLANK].isspace()
        return "" if waits and not is_blank and len(self._held) <= MAX_HELD else self._pass()

    def end_hold(self) -> str:
        """Return the text that is held for an orphan end tag; later text is not held for one."""
        holds, self._awaits_orphan = self.holds, False
        return self._pass() if holds else ""

    def finish(self) -> str:
        """Return the rest at the end of the answer. Thoughts without an end tag are no answer."""
        return "" if self._passes or self._end is not None else self._pass()

    def _pass(self) -> str:
        """Return all that is held; from now on, text passes."""
        text, self._held, self._passes = self._held, "\n", True  # a line begins
        if self._found_thoughts:
            text = text.lstrip()
        self._watch(text)
        return text

    def _watch(self, text: str) -> None:
        """Look for an orphan end tag in text that passes. Such a tag has a line of its own.

        Only the first MAX_HELD characters are searched: the next answer is held no longer.
        """
        if self.has_orphan_end or self._found_thoughts or self._watched >= MAX_HELD:
            return
        searched = self._held + text[: MAX_HELD - self._watched]
        self._watched += len(text)
        self.has_orphan_end = bool(_END_LINE.search(searched))
        self._held = searched[-_LONGEST_LINE:]

    def _take_tag(self, position: int) -> int | None:
        """Return the position after the next tag to remove, from `position` on; None without one.

        The text before a start tag is blank; the text before an end tag is thoughts.
        """
        if self._end is not None:
            found = _UNQUOTED[self._end].search(self._held, position)
            return None if found is None else self._end_thoughts(found.end())
        start = self._start(position)
        if start is None or self._tags >= MAX_TAGS:
            return None
        if found := _ANY_START.match(self._held, start):
            self._end = _PAIRS[found[0].lower()]
            return found.end()
        if self._awaits_orphan:
            after = self._scan.find(self._held)
        else:
            # After thoughts, only an end tag that stands before the answer is an orphan.
            found = _ANY_END.match(self._held, start)
            after = found.end() if found else None
        if after is None:
            return None
        self.has_orphan_end = True
        return self._end_thoughts(after)

    def _end_thoughts(self, position: int) -> int:
        self._tags += 1
        self._end, self._found_thoughts, self._awaits_orphan = None, True, False
        return position

    def _start(self, position: int = 0) -> int | None:
        """Return where the first word from `position` on is held.

        None if it is indented as code, or stands after MAX_BLANK characters of white space.
        """
        blank = _BLANK.match(self._held, position)
        assert blank is not None  # the pattern also matches nothing
        code = len(blank[0]) >= MAX_BLANK or _INDENTED.search(blank[0])
        return None if code else blank.end()

    def _may_begin_with_tag(self) -> bool:
        """Return True if only white space, or a part of a tag, is held."""
        start = self._start()
        if start is None:
            return self._held[: MAX_BLANK + 1].isspace()
        first = self._held[start : start + _LONGEST].lower()
        return any(tag.startswith(first) for tag in _TAGS)


class _OrphanScan:
    """Finds the first end tag that has no start tag and is not in code; reads each character once.

    The text is Markdown: fences, indented lines and backticks make code.
    """

    def __init__(self) -> None:
        self._position = 0
        self._line = 0  # where the current line begins
        self._is_fenced = False
        self._is_quoted = False  # the current line has an odd number of backticks so far
        self._has_start = False

    def find(self, text: str) -> int | None:
        """Return the position after the tag, or None; `text` is that of the last call, or longer.

        Only the first MAX_HELD characters are read.
        """
        if self._has_start:
            return None
        for mark in _MARK.finditer(text, self._position, MAX_HELD):
            self._position = mark.end()
            if mark.lastgroup == "line":
                self._is_fenced ^= _FENCE.match(text, self._line) is not None
                self._is_quoted = False
                self._line = mark.end()
            elif mark.lastgroup == "ticks":
                self._is_quoted ^= len(mark[0]) % 2 == 1
            elif mark.lastgroup == "start":
                self._has_start = True
                return None
            elif not (self._is_fenced or self._is_quoted or self._is_indented(text)):
                return mark.end()
        # A tag may have begun after the last mark.
        self._position = max(self._position, min(len(text), MAX_HELD) - _LONGEST)
        return None

    def _is_indented(self, text: str) -> bool:
        return text.startswith(("    ", "\t"), self._line)
