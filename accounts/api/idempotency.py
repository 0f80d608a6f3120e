"""`Idempotency-Key`: a POST that is sent again, because its answer was lost, happens once.

An endpoint calls `once` behind its gate, so whoever has lost their access is not told again either.
What was done, that it was done, and the answer are committed together. Refusals are not kept.
"""

import base64
import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Final
from uuid import NAMESPACE_URL, UUID, uuid5

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.errors import Conflict, Invalid
from accounts.models import KeptAnswer
from accounts.permissions import require_user

HEADER: Final = "Idempotency-Key"
LIFETIME: Final = timedelta(hours=24)
LONGEST: Final = 255


def once(
    request: HttpRequest, act: Callable[[], HttpResponse], *, keeps: bool = True
) -> HttpResponse:
    """Answer with `act`, or with what it answered when the same request came before.

    A duplicate that comes meanwhile waits for the first. Without `keeps`, `act` is called again and
    must know by itself what it has done already. Raises Conflict where the key came with another
    body.
    """
    key = _key(request)
    if key is None:
        return act()
    with transaction.atomic():
        kept, is_new = _claim(request, key)
        if not is_new and keeps:
            return _told_again(kept, key)
        answer = act()
        if is_new and keeps:
            kept.status, kept.answer = answer.status_code, _cipher(key).encrypt(answer.content)
            kept.save(update_fields=["status", "answer"])
    return answer


def id_of(request: HttpRequest) -> UUID | None:
    """Return an id that is the same whenever this request comes again; None if it has no key.

    It holds the body, too: rows are forgotten in time, and then the key may come with another one.
    """
    key = _key(request)
    if key is None:
        return None
    return uuid5(NAMESPACE_URL, f"{_digest(request, key)}\n{_body_digest(request)}")


def purge_answers() -> int:
    """Forget what was kept for people who have not come again with a key; return how many."""
    return _over().delete()[0]


def _over() -> QuerySet[KeptAnswer]:
    return KeptAnswer.objects.filter(created_at__lt=timezone.now() - LIFETIME)


def _claim(request: HttpRequest, key: str) -> tuple[KeptAnswer, bool]:
    """Return the row of a request, locked, and whether it is new."""
    user, digest = require_user(request), _digest(request, key)
    body_digest = _body_digest(request)
    _over().filter(user=user).delete()
    kept, is_new = KeptAnswer.objects.get_or_create(
        digest=digest, defaults={"user": user, "body_digest": body_digest}
    )
    if kept.body_digest != body_digest:
        raise Conflict(_("This Idempotency-Key came with another body before."))
    return kept, is_new


def _told_again(kept: KeptAnswer, key: str) -> HttpResponse:
    try:
        body = _cipher(key).decrypt(bytes(kept.answer))
    except InvalidToken:  # kept under a secret key that is gone
        raise Conflict(_("This was done, and its answer can no longer be read.")) from None
    return HttpResponse(body, content_type="application/json; charset=utf-8", status=kept.status)


def _key(request: HttpRequest) -> str | None:
    key = request.headers.get(HEADER)
    if key is not None and not (0 < len(key) <= LONGEST and key.isascii() and key.isprintable()):
        raise Invalid(_("An Idempotency-Key has 1 to 255 plain characters."))
    return key


def _digest(request: HttpRequest, key: str) -> str:
    parts = (str(require_user(request).pk), request.method or "", request.path, key)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _body_digest(request: HttpRequest) -> str:
    return hashlib.sha256(request.body).hexdigest()


def _cipher(key: str) -> MultiFernet:
    """Answers may hold what is shown once: a row alone must not tell it again."""
    secrets = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    mixed = [hashlib.sha256(f"{secret}\n{key}".encode()).digest() for secret in secrets]
    return MultiFernet([Fernet(base64.urlsafe_b64encode(each)) for each in mixed])
