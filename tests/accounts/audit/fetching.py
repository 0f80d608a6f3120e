"""Files that come in pieces, as whoever fetches them has them in the end."""

from typing import Any

from asgiref.sync import async_to_sync


def file_of(answer: Any) -> str:  # Any: the test client's answer
    """Return all that an answer streams."""

    async def fetch() -> bytes:
        return b"".join([piece async for piece in answer.streaming_content])

    return async_to_sync(fetch)().decode()
