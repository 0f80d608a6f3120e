"""The "check" button of a connection: one cheap request, and one sentence about what came back."""

import json
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

import httpx
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from agents.egress import EgressRefused, GuardedTransport, check_url
from agents.names import HostUnknown

SECONDS: Final = 10.0
BODY_LIMIT: Final = 2 * 1024 * 1024

STATUS_SENTENCES: Final[dict[int, str | Promise]] = {
    400: gettext_lazy("The provider does not understand the request. Check the model's name."),
    401: gettext_lazy("The provider refuses this key. Check the key."),
    403: gettext_lazy("The provider refuses this key. Check the key."),
    404: gettext_lazy("The provider has nothing at this path. Many end in /v1."),
    429: gettext_lazy("The provider is there, but says: too many requests. Try again later."),
}


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Whether a connection works, in one sentence that names no key, and its models if listed."""

    ok: bool
    detail: str
    models: tuple[str, ...] = ()


def check_connection(*, kind: str, base_url: str, key: str, model: str = "") -> CheckResult:
    """Ask the provider once, for at most ten seconds, and say in one sentence what is wrong."""
    if kind == "demo":
        return CheckResult(True, _("The demo needs no provider: it answers without a model."))
    try:
        check_url(base_url)
        with _client(base_url, key) as client:
            return _judge(client, model)
    except EgressRefused as refused:
        return CheckResult(False, str(refused.detail))
    except HostUnknown:
        return CheckResult(False, _("This host name has no address. Check its spelling."))
    except httpx.TimeoutException:
        return CheckResult(False, _("The provider does not answer in time. Check the address."))
    except httpx.HTTPError:
        return CheckResult(False, _("The provider cannot be reached. Check address and port."))


def _client(base_url: str, key: str) -> httpx.Client:
    headers = {"User-Agent": "Maru", "Accept-Encoding": "identity"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    return httpx.Client(
        base_url=base_url, headers=headers, transport=GuardedTransport(), timeout=SECONDS / 2
    )


def _judge(client: httpx.Client, model: str) -> CheckResult:
    status, body = _ask(client, "GET", "models")
    if status in (404, 405) and model:
        return _judge_by_asking(client, model)
    if status != 200:
        return CheckResult(False, _sentence(status))
    names = _names(body)
    if names is None:
        return CheckResult(False, _not_compatible())
    if model and names and model not in names:
        unknown = _("The provider does not list a model named %(model)s.") % {"model": model}
        return CheckResult(False, unknown, names)
    return CheckResult(True, _("The provider answers and takes this key."), names)


def _judge_by_asking(client: httpx.Client, model: str) -> CheckResult:
    """Some providers have no list of models: have the model say one token instead."""
    question = {
        "model": model,
        "messages": [{"role": "user", "content": "Say: ok"}],
        "max_tokens": 1,
    }
    status, body = _ask(client, "POST", "chat/completions", question)
    if status != 200:
        return CheckResult(False, _sentence(status))
    if not isinstance(body, dict) or not body.get("choices"):
        return CheckResult(False, _not_compatible())
    return CheckResult(True, _("The provider answers and takes this key."))


def _ask(
    client: httpx.Client, method: str, path: str, question: dict[str, Any] | None = None
) -> tuple[int, object]:
    """Return the status and the body, None where it is not JSON, too large or too slow."""
    ends = monotonic() + SECONDS
    with client.stream(method, path, json=question) as response:
        body = bytearray()
        for part in response.iter_raw():
            body += part
            if monotonic() > ends:
                raise httpx.ReadTimeout("the body drips", request=response.request)
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
