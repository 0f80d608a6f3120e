"""Text from a model, made storable without changing what it says."""

from typing import Final

REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"


class Cleaner:
    """Joins surrogate pairs that were cut between two pieces, and takes out what no store holds."""

    def __init__(self) -> None:
        self._half = ""

    def clean(self, piece: str) -> str:
        """Return what can be told of `piece` now; half a pair waits for its other half."""
        text, self._half = self._half + piece, ""
        if text.isascii():
            return text.replace("\0", REPLACEMENT)
        if "\ud800" <= text[-1] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return whole.replace("\0", REPLACEMENT)

    def rest(self) -> str:
        """Return what is left at the end: a half pair whose other half never came."""
        half, self._half = self._half, ""
        return REPLACEMENT if half else ""
