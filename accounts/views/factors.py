"""The pages on which second factors come and go: allauth's, each made one change with its entry.

allauth tells of a factor once it is committed, or beside any transaction; so we look ourselves.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes import views as recovery_codes
from allauth.mfa.totp import views as totp
from allauth.mfa.webauthn import views as webauthn
from allauth.usersessions.internal.flows.sessions import end_other_sessions
from django.db import transaction
from django.http import HttpRequest, HttpResponse

from accounts.audit.log import audit
from accounts.mfa import FACTORS, has_mfa
from accounts.models import Team, User
from accounts.permissions import require_user
from accounts.revocation import Ending, access_ended

View = Callable[..., HttpResponse]


def _in_one_change(view: View) -> View:
    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.method != "POST":
            return view(request, *args, **kwargs)
        with factors_written_down(request):
            return view(request, *args, **kwargs)

    return wrapped


@contextmanager
def factors_written_down(request: HttpRequest) -> Iterator[None]:
    """Have what becomes of one's factors within, what follows from it and its entry be one change.

    Sessions that were begun without a new factor end. Who has none left hears no more of teams that
    ask for one.
    """
    user = require_user(request)
    with transaction.atomic():
        before = _lock_factors(user)
        yield
        after = _factors(user)
        added = {kind for pk, kind in after.items() if pk not in before}
        removed = {kind for pk, kind in before.items() if pk not in after}
        if removed and not has_mfa(user) and _is_asked_of(user):
            access_ended(Ending(user_id=user.pk))
        if not added.isdisjoint(FACTORS):
            end_other_sessions(request, user)
        for kind in sorted(removed - added):
            audit(user, "user.mfa_removed", user.pk, before={"kind": kind})
        for kind in sorted(added):
            action = "user.mfa_reset" if kind in removed else "user.mfa_added"
            audit(user, action, user.pk, after={"kind": kind})


def _lock_factors(user: User) -> dict[int, str]:
    """Return the factors of a user, which nobody else changes until the transaction ends."""
    list(User.objects.select_for_update(no_key=True).filter(pk=user.pk).values_list("pk"))
    return _factors(user)


def _factors(user: User) -> dict[int, str]:
    return dict(Authenticator.objects.filter(user=user).values_list("pk", "type"))


def _is_asked_of(user: User) -> bool:
    return Team.objects.filter(members__user=user, require_mfa=True).exists()


activate_totp = _in_one_change(totp.activate_totp)
deactivate_totp = _in_one_change(totp.deactivate_totp)
add_webauthn = _in_one_change(webauthn.add_webauthn)
remove_webauthn = _in_one_change(webauthn.remove_webauthn)
generate_recovery_codes = _in_one_change(recovery_codes.generate_recovery_codes)
