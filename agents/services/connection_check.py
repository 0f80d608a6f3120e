"""The "check" button of a connection: one cheap request, and one sentence about what came back.

Whoever answers there may be slow on purpose: one deadline holds for all of it, from the lookup of
the name to the last byte, and a process makes few checks at once.
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
from agents.egress.guard import EgressRefused, check_url, pinned

T = TypeVar("T")
R = TypeVar("R")

SECONDS: Final = 10.0
AT_ONCE: Final = 4
BODY_LIMIT: Final = 2 * 1024 * 1024

STATUS_SENTENCES: Final[dict[int, str | Promise]] = {
    400: gettext_lazy("The provider does not understand the request. Check the model's name."),
    401: gettext_lazy("The provider refuses this key. Check the key."),
    403: gettext_lazy("The provider refuses this key. Check the key."),
    404: gettext_lazy("The provider has nothing at this path. Many end in /v1."),
    429: gettext_lazy("The provider is there, but says: too many requests. Try again later."),
}


_free = BoundedSemaphore(AT_ONCE)
# No lookup can be broken off: one that the deadline has left behind goes on here by itself.
_LOOKUPS: Final = ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="lookup")


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Whether a connection works, in one sentence that names no key, and its models if listed."""

    ok: bool
    detail: str
    models: tuple[str, ...] = ()


def check_connection(*, kind: str, base_url: str, key: str, model: str = "") -> CheckResult:
    """Ask the provider once, for at most ten seconds, and say in one sentence what is wrong.

    Raises RateLimited where this process makes as many checks as it may.
    """
    if kind == "demo":
        return CheckResult(True, _("The demo needs no provider: it answers without a model."))
    if not _free.acquire(blocking=False):
        raise RateLimited(retry_after=int(SECONDS))
    try:
        return asyncio.run(_check(base_url, key, model))
    except EgressRefused as refused:
        return CheckResult(False, str(refused.detail))
    except HostUnknown:
        return CheckResult(False, _("This host name has no address. Check its spelling."))
    except TimeoutError:
        return CheckResult(False, _("The provider does not answer in time. Check the address."))
    except httpx.HTTPError:
        return CheckResult(False, _("The provider cannot be reached. Check address and port."))
    finally:
        _free.release()


async def _check(base_url: str, key: str, model: str) -> CheckResult:
    async with asyncio.timeout(SECONDS):
        await _look_up(check_url, base_url)
        # The client's own limit is for each read, and a drip keeps within it.
        async with _client(base_url, key) as client:
            return await _judge(client, model)


class _PinnedTransport(httpx.AsyncHTTPTransport):
    """Sends each request to the one address that it was judged by."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await super().handle_async_request(await _look_up(pinned, request))


async def _look_up(function: Callable[[T], R], asked: T) -> R:
    """Call what resolves a name, so that the deadline need not wait for it."""
    return await asyncio.get_running_loop().run_in_executor(_LOOKUPS, function, asked)


def _client(base_url: str, key: str) -> httpx.AsyncClient:
    headers = {"User-Agent": "Maru", "Accept-Encoding": "identity"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    return httpx.AsyncClient(
        base_url=base_url, headers=headers, transport=_PinnedTransport(), timeout=SECONDS
    )


async def _judge(client: httpx.AsyncClient, model: str) -> CheckResult:
    status, body = await _ask(client, "GET", "models")
    if status in (404, 405) and model:
        return await _judge_by_asking(client, model)
    if status != 200:
        return CheckResult(False, _sentence(status))
    names = _names(body)
    if names is None:
        return CheckResult(False, _not_compatible())
    if model and names and model not in names:
        unknown = _("The provider does not list a model named %(model)s.") % {"model": model}
        return CheckResult(False, unknown, names)
    return CheckResult(True, _("The provider answers and takes this key."), names)


async def _judge_by_asking(client: httpx.AsyncClient, model: str) -> CheckResult:
    """Some providers have no list of models: have the model say one token instead."""
    question = {
        "model": model,
        "messages": [{"role": "user", "content": "Say: ok"}],
        "max_tokens": 1,
    }
    status, body = await _ask(client, "POST", "chat/completions", question)
    if status != 200:
        return CheckResult(False, _sentence(status))
    if not isinstance(body, dict) or not body.get("choices"):
        return CheckResult(False, _not_compatible())
    return CheckResult(True, _("The provider answers and takes this key."))


async def _ask(
    client: httpx.AsyncClient, method: str, path: str, question: dict[str, Any] | None = None
) -> tuple[int, object]:
    """Return the status and the body, None where it is not JSON or too large."""
    async with client.stream(method, path, json=question) as response:
        body = bytearray()
        async for part in response.aiter_raw():
            body += part
            if len(body) > BODY_LIMIT:
                return response.status_code, None
        try:
            return response.status_code, json.loads(body)
        except (ValueError, RecursionError):
            return response.status_code, None


def _names(body: object) -> tuple[str, ...] | None:
    """Return the names in a list of models, or None if this is not one."""
    if not isinstance(body, dict) or not isinstance(body.get("data"), list):
        return None
    ids = (item.get("id") for item in body["data"] if isinstance(item, dict))
    return tuple(name for name in ids if isinstance(name, str))


def _sentence(status: int) -> str:
    if sentence := STATUS_SENTENCES.get(status):
        return str(sentence)
    if status >= 500:
        return _("The provider is there, but has trouble of its own. Try again later.")
    if 300 <= status < 400:
        return _("The provider sends us elsewhere. Enter the address that it sends us to.")
    return _("The provider refuses the request. Check the address and the key.")


def _not_compatible() -> str:
    return _("What answers there does not speak the OpenAI protocol. Check the path.")
