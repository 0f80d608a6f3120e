"""Makes text that arrives in parts storable: joins surrogate pairs, replaces other characters."""

from typing import Final

from agents.untrusted_text import join_surrogates

REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"


class SurrogateJoiner:
    """Joins a surrogate pair that a provider has split over two chunks.

    A lone surrogate cannot be encoded as UTF-8, and PostgreSQL stores no NUL: both become U+FFFD.
    """

    def __init__(self) -> None:
        self._high = ""

    def feed(self, chunk: str) -> str:
        """Return the complete text; keep a final high surrogate for the next chunk."""
        text, self._high = self._high + chunk, ""
        if text.isascii():
            return text.replace("\0", REPLACEMENT)
        if "\ud800" <= text[-1] <= "\udbff":
            text, self._high = text[:-1], text[-1]
        return join_surrogates(text).replace("\0", REPLACEMENT)

    def flush(self) -> str:
        """Return U+FFFD if a high surrogate is left at the end of the answer, else ""."""
        high, self._high = self._high, ""
        return REPLACEMENT if high else ""
