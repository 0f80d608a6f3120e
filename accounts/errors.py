"""The errors that a caller is told of, alike on pages, REST and the socket."""

from collections.abc import Mapping
from typing import ClassVar
from uuid import UUID

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


class MaruError(Exception):
    """Something that we say no to: `code` for programs, `detail` one sentence for people."""

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
    """Absent or not for you: the answer never says which, so it never takes a detail."""

    code, status = "not_found", 404
    default_detail = _("There is nothing here, or it is not for you.")

    def __init__(self) -> None:
        super().__init__()


class Forbidden(MaruError):
    """For members who may see the thing and may not do this to it; `team_id` is whose it is."""

    code, status = "forbidden", 403
    default_detail = _("You may not do this. Ask an owner or an admin.")

    def __init__(self, detail: str | Promise | None = None, *, team_id: UUID | None = None) -> None:
        super().__init__(detail)
        self.team_id = team_id


class MfaRequired(Forbidden):
    """For members of a team that asks for two-step sign-in who have not set it up."""

    default_detail = _("This team asks for two-step sign-in. Set it up for yourself first.")


class Invalid(MaruError):
    code, status = "invalid", 400
    default_detail = _("This is not in the form that is expected.")


class Conflict(MaruError):
    code, status = "conflict", 409
    default_detail = _("This has changed in the meantime. Load it again.")


class RateLimited(MaruError):
    code, status = "rate_limited", 429
    default_detail = _("Too much at once. Wait a little and try again.")


class TooLarge(MaruError):
    code, status = "too_large", 413
    default_detail = _("This is too long. Shorten it and try again.")


class Unavailable(MaruError):
    code, status = "unavailable", 503
    default_detail = _("This is not available right now. Try again in a moment.")
