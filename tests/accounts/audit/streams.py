"""Reading of streamed responses."""

from typing import Any

from asgiref.sync import async_to_sync


def read_stream(response: Any) -> str:  # Any: a response of the test client
    """Return the whole content of a streaming response."""

    async def fetch() -> bytes:
        return b"".join([piece async for piece in response.streaming_content])

    return async_to_sync(fetch)().decode()
