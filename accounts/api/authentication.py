"""Authentication of REST requests, by bearer token or by session cookie."""

from collections.abc import Sequence
from typing import Final

from django.http import HttpRequest
from django.utils.translation import gettext as _
from ninja.security.base import AuthBase
from ninja.utils import check_csrf

from accounts import rate_limits
from accounts.errors import Forbidden
from accounts.models import User
from accounts.scopes import READ, WRITE, check_scope
from accounts.services import user_for_token

_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class BearerAuth(AuthBase):
    """Authenticates `Authorization: Bearer maru_…` (RFC 6750, section 2.1)."""

    openapi_type = "http"
    openapi_scheme = "bearer"

    def __call__(self, request: HttpRequest) -> User | None:
        scheme, _space, secret = request.headers.get("Authorization", "").partition(" ")
        user = user_for_token(secret.strip()) if scheme.lower() == "bearer" else None
        return _authenticated(request, user) if user else None


class SessionAuth(AuthBase):
    """Authenticates the session cookie of a browser; unsafe methods also need the CSRF token."""

    openapi_type = "apiKey"
    openapi_in = "cookie"
    openapi_name = "maru_session"

    def __call__(self, request: HttpRequest) -> User | None:
        # A request that has an Authorization header, valid or not, is never authenticated by its
        # cookie: a request must have only one kind of credentials.
        if "Authorization" in request.headers or not isinstance(request.user, User):
            return None
        if check_csrf(request) is not None:
            raise Forbidden(_("The CSRF token is missing or wrong. Load the page again."))
        return _authenticated(request, request.user)


AUTH: Final[Sequence[AuthBase]] = (BearerAuth(), SessionAuth())


def _authenticated(request: HttpRequest, user: User) -> User:
    """Set the user of the request, check the credential's scope and count the request."""
    request.user = user
    name = READ if request.method in _SAFE_METHODS else WRITE
    check_scope(user.scope, name, user.scope.team_id)
    rate_limits.consume(rate_limits.CALL, user)
    return user
