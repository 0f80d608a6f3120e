"""Primary keys: UUIDs that sort by creation time, so that new rows share index pages."""

import os
import time
import uuid


def new_id() -> uuid.UUID:
    """Return a UUID version 7 (RFC 9562, section 5.7): 48 bits of milliseconds, 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds & (2**48 - 1)) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 7 << 76
    return uuid.UUID(int=value & ~(3 << 62) | 2 << 62)
