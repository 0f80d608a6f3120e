"""Decompresses gzip and deflate, which some providers send although `identity` was requested.

The first bytes decide, not the header: it may be missing, empty, or wrong.
"""

import re
import zlib
from codecs import getincrementaldecoder
from collections.abc import Iterator
from typing import Any, Final

PIECE_BYTES: Final = 16 * 1024
"""Upper bound of each decompressed piece, so that a small body cannot fill the memory."""
_SNIFFED_BYTES: Final = 16
_GZIP: Final = b"\x1f\x8b"
_PLAIN_STARTS: Final = ("data", "event", "retry", "id", ":", "{", "[", "\ufeff")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_WINDOW_GZIP, _WINDOW_ZLIB, _WINDOW_RAW = 31, 15, -15


class Decompressor:
    """Returns the plain bytes of one body; `encoding` is its Content-Encoding."""

    def __init__(self, encoding: str) -> None:
        self._is_deflate = "deflate" in encoding.lower()
        self._head: bytes | None = b""
        self._window: int | None = None
        self._inflater: Any = None  # the type of zlib's decompressors has no public name

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the plain bytes, at most PIECE_BYTES each; raise zlib.error for a broken body."""
        if self._head is not None:
            self._head += data
            if len(self._head) < (_SNIFFED_BYTES if self._is_deflate else len(_GZIP)):
                return
            data = self._sniff()
        if self._window is None and len(data) <= PIECE_BYTES:
            yield data
            return
        # In pieces: zlib copies the input that is left for each piece of output, and each member.
        for start in range(0, len(data), PIECE_BYTES):
            yield from self._inflate(data[start : start + PIECE_BYTES])

    def finish(self) -> Iterator[bytes]:
        """Yield the rest. A compressed body that was cut is not an error."""
        if self._head is not None:
            yield from self._inflate(self._sniff())

    def _sniff(self) -> bytes:
        """Decide from the first bytes how the body is compressed, and return these bytes."""
        head, self._head = self._head or b"", None
        if head.startswith(_GZIP):
            self._window = _WINDOW_GZIP
        elif self._is_deflate and not _may_be_plain(head):
            # "deflate" is zlib (RFC 9110 §8.4.1.2), but several servers send raw DEFLATE.
            is_zlib = head[0] & 15 == 8 and int.from_bytes(head[:2], "big") % 31 == 0
            self._window = _WINDOW_ZLIB if is_zlib else _WINDOW_RAW
        return head

    def _inflate(self, data: bytes) -> Iterator[bytes]:
        if self._window is None:
            yield data
            return
        piece = b""
        while data or len(piece) == PIECE_BYTES:  # a full piece: zlib may hold more output
            if self._inflater is None or self._inflater.eof:  # RFC 1952 §2.2: several members
                self._inflater = zlib.decompressobj(self._window)
            piece = self._inflater.decompress(data, PIECE_BYTES)
            yield piece
            data = self._inflater.unconsumed_tail or self._inflater.unused_data


def _may_be_plain(head: bytes) -> bool:
    """Return True if the first bytes can begin an event stream or JSON.

    DEFLATE has no signature, and its first byte can be that of an event stream.
    """
    try:
        text = getincrementaldecoder("utf-8")().decode(head)  # the last character may be cut
    except UnicodeDecodeError:
        return False
    text = text.lstrip().lower()
    return not _CONTROL.search(text) and any(
        text.startswith(start[: len(text)]) for start in _PLAIN_STARTS
    )
