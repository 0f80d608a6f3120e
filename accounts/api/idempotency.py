"""`Idempotency-Key`: a POST that is repeated, because its response was lost, takes effect once.

The effect, the key and the response are committed in one transaction. Errors are not stored. The
gate of an operation is checked before the stored response is read, so that a user who has lost
access does not get it. `POST /teams`, `/teams/{id}/delete`, `/teams/{id}/restore` and
`/invitations/accept` have no gate: a repetition returns what the same user has received before.
"""

import base64
import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final
from uuid import NAMESPACE_URL, UUID, uuid5

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.api.bodies import CONTENT_TYPE
from accounts.errors import Conflict, Invalid
from accounts.models import KeptAnswer
from accounts.permissions import require_user

HEADER: Final = "Idempotency-Key"
LIFETIME: Final = timedelta(hours=24)
MAX_LENGTH: Final = 255
KEY_PARAMETER: Final[dict[str, Any]] = {
    "in": "header",
    "name": HEADER,
    "description": "A repetition with the same key takes effect once, for 24 hours.",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_LENGTH},
}
"""The OpenAPI description of the header, for the operations that honour it."""


def run_once(
    request: HttpRequest, act: Callable[[], HttpResponse], *, replay: bool = True
) -> HttpResponse:
    """Return the response of `act`, or the stored response of the same request.

    A repetition that arrives while the first request runs waits for it. With `replay` False the
    response is not stored: `act` is called again and must itself recognize the repetition. Raises
    Conflict if the key was used with another body, Invalid if the key is malformed.
    """
    key = _read_key(request)
    if key is None:
        return act()
    with transaction.atomic():
        stored, is_new = _claim(request, key)
        if not is_new and replay:
            return _replay(stored, key)
        response = act()
        if is_new and replay:
            stored.status = response.status_code
            stored.answer = _cipher(key).encrypt(response.content)
            stored.save(update_fields=["status", "answer"])
    return response


def derived_id(request: HttpRequest) -> UUID | None:
    """Return an id that is equal for each repetition of the request; None without a key.

    The id depends on the body, because a key may be used with another body after it has expired.
    """
    key = _read_key(request)
    if key is None:
        return None
    return uuid5(NAMESPACE_URL, f"{_digest(request, key)}\n{_body_digest(request)}")


def purge_responses() -> int:
    """Delete the expired responses of all users; return the number of deleted responses."""
    return _expired().delete()[0]


def _expired() -> QuerySet[KeptAnswer]:
    return KeptAnswer.objects.filter(created_at__lt=timezone.now() - LIFETIME)


def _claim(request: HttpRequest, key: str) -> tuple[KeptAnswer, bool]:
    """Lock or insert the row of a request; return the row and True if it was inserted."""
    user, digest = require_user(request), _digest(request, key)
    body_digest = _body_digest(request)
    _expired().filter(user=user).delete()
    stored, is_new = KeptAnswer.objects.get_or_create(
        digest=digest, defaults={"user": user, "body_digest": body_digest}
    )
    if stored.body_digest != body_digest:
        raise Conflict(
            _("This Idempotency-Key was already used with another request body. Use a new key.")
        )
    return stored, is_new


def _replay(stored: KeptAnswer, key: str) -> HttpResponse:
    try:
        content = _cipher(key).decrypt(bytes(stored.answer))
    except InvalidToken:  # encrypted with a secret key that is no longer configured
        raise Conflict(
            _("This request was already processed. Its response is no longer available.")
        ) from None
    return HttpResponse(content, content_type=CONTENT_TYPE, status=stored.status)


def _read_key(request: HttpRequest) -> str | None:
    key = request.headers.get(HEADER)
    if key is not None and not (0 < len(key) <= MAX_LENGTH and key.isascii() and key.isprintable()):
        raise Invalid(_("An Idempotency-Key has 1 to 255 plain characters."))
    return key


def _digest(request: HttpRequest, key: str) -> str:
    parts = (str(require_user(request).pk), request.method or "", request.path, key)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _body_digest(request: HttpRequest) -> str:
    return hashlib.sha256(request.body).hexdigest()


def _cipher(key: str) -> MultiFernet:
    """Return the cipher of stored responses, which may hold secrets that are shown once.

    The client's key is part of the encryption key, so a copy of the database is not
    sufficient to decrypt a response.
    """
    secrets = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    mixed = [hashlib.sha256(f"{secret}\n{key}".encode()).digest() for secret in secrets]
    return MultiFernet([Fernet(base64.urlsafe_b64encode(each)) for each in mixed])
