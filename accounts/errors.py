"""Errors that pages, REST and the socket report to their caller in the same way."""

from collections.abc import Mapping
from typing import ClassVar
from uuid import UUID

from django.db import InterfaceError, OperationalError
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from redis import RedisError


def is_outage(error: Exception) -> bool:
    """Return True if this error means that the database, Redis or the network is unavailable.

    Every other error is a fault of this server: log it with its traceback.
    """
    return isinstance(error, OperationalError | InterfaceError | RedisError | OSError)


class MaruError(Exception):
    """Base of all reported errors.

    `code` is for programs and `status` is the HTTP status. `detail` is a sentence for people,
    `fields` holds one sentence for each invalid field, `retry_after` is in seconds.
    """

    code: ClassVar[str]
    status: ClassVar[int]
    default_detail: ClassVar[str | Promise]

    def __init__(
        self,
        detail: str | Promise | None = None,
        *,
        fields: Mapping[str, str | Promise] | None = None,
        retry_after: int | None = None,
    ) -> None:
        self.detail = detail or self.default_detail
        self.fields = fields
        self.retry_after = retry_after
        super().__init__(self.code)


class Unauthenticated(MaruError):
    code, status = "unauthenticated", 401
    default_detail = _("Sign in, or send a valid token.")


class NotFound(MaruError):
    """The object does not exist, or the user may not see it.

    Both cases give the same response, so this error takes no detail.
    """

    code, status = "not_found", 404
    default_detail = _("This does not exist, or you do not have access to it.")

    def __init__(self) -> None:
        super().__init__()


class Forbidden(MaruError):
    """The user may see the object but lacks the permission.

    `team_id` is the team of the object. The audit log of that team records the refusal.
    """

    code, status = "forbidden", 403
    default_detail = _("You do not have permission to do this. Ask an owner or an admin.")

    def __init__(self, detail: str | Promise | None = None, *, team_id: UUID | None = None) -> None:
        super().__init__(detail)
        self.team_id = team_id


class MfaRequired(Forbidden):
    """The team requires two-step sign-in, and the user has not set it up."""

    default_detail = _("This team requires two-step sign-in. Set it up for your account first.")


class Invalid(MaruError):
    code, status = "invalid", 400
    default_detail = _("The request is not valid. Check it and try again.")


class Conflict(MaruError):
    code, status = "conflict", 409
    default_detail = _("This was changed in the meantime. Reload it and try again.")


class RateLimited(MaruError):
    code, status = "rate_limited", 429
    default_detail = _("Too many requests. Wait a moment and try again.")


class TooLarge(MaruError):
    code, status = "too_large", 413
    default_detail = _("This is too long. Shorten it and try again.")


class Unavailable(MaruError):
    code, status = "unavailable", 503
    default_detail = _("This is not available right now. Try again in a moment.")


class DiskFull(Unavailable):
    status = 507
    default_detail = _(
        "The server's disk is full, so this was not saved. Tell the people who run this server."
    )
