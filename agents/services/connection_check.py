"""Checks a connection: one cheap request to the provider, and one sentence about the result.

A provider may respond slowly on purpose. So one deadline covers the whole check, from name
resolution to the last byte, and each process runs at most MAX_CONCURRENT_CHECKS at once.
"""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import Any, Final, TypeVar

import httpx
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.errors import RateLimited
from agents.egress.dns import HostUnknown
from agents.egress.guard import EgressRefused, check_url, pin_request
from agents.egress.proxy import open_transport

T = TypeVar("T")
R = TypeVar("R")

TIMEOUT_SECONDS: Final = 10.0
MAX_CONCURRENT_CHECKS: Final = 4
MAX_BODY_BYTES: Final = 2 * 1024 * 1024

STATUS_SENTENCES: Final[dict[int, str | Promise]] = {
    400: gettext_lazy("The provider did not understand the request. Check the name of the model."),
    401: gettext_lazy("The provider refused this key. Check the key."),
    403: gettext_lazy("The provider refused this key. Check the key."),
    404: gettext_lazy("No API was found at this address. API addresses often end in /v1."),
    429: gettext_lazy("The provider received too many requests. Try again later."),
}


_slots = BoundedSemaphore(MAX_CONCURRENT_CHECKS)
# A lookup cannot be cancelled. After the deadline, it continues in one of these threads.
_threads: Final = ThreadPoolExecutor(MAX_CONCURRENT_CHECKS, thread_name_prefix="connection-check")


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Whether the connection works, in one sentence without the key, and the provider's models."""

    ok: bool
    detail: str
    models: tuple[str, ...] = ()


def check_provider(*, kind: str, base_url: str, key: str, model: str = "") -> CheckResult:
    """Check a provider within TIMEOUT_SECONDS. Blocking.

    Raise RateLimited if this process already runs MAX_CONCURRENT_CHECKS.
    """
    if kind == "demo":
        return CheckResult(True, _("The demo needs no provider: it answers without a model."))
    if not _slots.acquire(blocking=False):
        raise RateLimited(retry_after=int(TIMEOUT_SECONDS))
    try:
        return asyncio.run(_check(base_url, key, model))
    except EgressRefused as refused:
        return CheckResult(False, str(refused.detail))
    except HostUnknown:
        return CheckResult(False, _("This host name was not found. Check its spelling."))
    except TimeoutError:
        return CheckResult(
            False, _("The provider did not answer in time. Check the address, or try again later.")
        )
    except httpx.HTTPError:
        return CheckResult(
            False, _("The provider cannot be reached. Check the address and the port.")
        )
    finally:
        _slots.release()


class _PinnedTransport(httpx.AsyncBaseTransport):
    """Sends each request to the address that the egress guard has checked."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        pinned = await _in_thread(pin_request, request)
        return await self._transport.handle_async_request(pinned)


async def _in_thread(function: Callable[[T], R], argument: T) -> R:
    """Call a function that resolves a name. The deadline ends the wait; the call continues."""
    return await asyncio.get_running_loop().run_in_executor(_threads, function, argument)


async def _check(base_url: str, key: str, model: str) -> CheckResult:
    headers = {"User-Agent": "Maru", "Accept-Encoding": "identity"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    # The timeout of httpx applies to each read. A provider that sends single bytes with pauses
    # never exceeds it, so the whole check needs a deadline as well.
    async with asyncio.timeout(TIMEOUT_SECONDS):
        await _in_thread(check_url, base_url)
        with open_transport() as transport:
            async with httpx.AsyncClient(
                base_url=base_url,
                headers=headers,
                transport=_PinnedTransport(transport),
                timeout=TIMEOUT_SECONDS,
            ) as client:
                return await _check_models(client, model)


async def _check_models(client: httpx.AsyncClient, model: str) -> CheckResult:
    status, body = await _request(client, "GET", "models")
    if status in (404, 405) and model:
        return await _check_completion(client, model)
    if status != 200:
        return CheckResult(False, _sentence(status))
    names = _model_names(body)
    if names is None:
        return CheckResult(False, _not_compatible())
    if model and names and model not in names:
        unknown = _("The provider does not list a model named %(model)s. Check the name.") % {
            "model": model
        }
        return CheckResult(False, unknown, names)
    return CheckResult(True, _("The connection works: the provider answered."), names)


async def _check_completion(client: httpx.AsyncClient, model: str) -> CheckResult:
    """Request one token, because this provider has no list of models."""
    question = {
        "model": model,
        "messages": [{"role": "user", "content": "Say: ok"}],
        "max_tokens": 1,
    }
    status, body = await _request(client, "POST", "chat/completions", question)
    if status != 200:
        return CheckResult(False, _sentence(status))
    if not isinstance(body, dict) or not body.get("choices"):
        return CheckResult(False, _not_compatible())
    return CheckResult(True, _("The connection works: the provider answered."))


async def _request(
    client: httpx.AsyncClient, method: str, path: str, question: dict[str, Any] | None = None
) -> tuple[int, object]:
    """Return the status and the decoded body; None for a body that is not JSON or too large."""
    async with client.stream(method, path, json=question) as response:
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                return response.status_code, None
        try:
            return response.status_code, json.loads(body)
        except (ValueError, RecursionError):
            return response.status_code, None


def _model_names(body: object) -> tuple[str, ...] | None:
    """Return the names in a list of models, or None if the body is not a list of models."""
    if not isinstance(body, dict) or not isinstance(body.get("data"), list):
        return None
    ids = (item.get("id") for item in body["data"] if isinstance(item, dict))
    return tuple(name for name in ids if isinstance(name, str))


def _sentence(status: int) -> str:
    if sentence := STATUS_SENTENCES.get(status):
        return str(sentence)
    if status >= 500:
        return _("The provider has a problem. Try again later.")
    if 300 <= status < 400:
        return _("This address redirects to another one. Enter that address instead.")
    return _("The provider refused the request. Check the address and the key.")


def _not_compatible() -> str:
    return _("The server at this address is not compatible with OpenAI. Check the address.")
