"""allauth's views that add and remove second factors, each in one transaction with its audit entry.

allauth sends its signals after the commit or outside a transaction, which is too late for an audit
entry. So this module compares the factors before and after the view.
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
from accounts.hooks import AccessRevoked, access_revoked, account_hooks
from accounts.mfa import FACTORS, has_mfa
from accounts.models import Team, User
from accounts.permissions import require_user

View = Callable[..., HttpResponse]


def _audited(view: View) -> View:
    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.method != "POST":
            return view(request, *args, **kwargs)
        with audited_factor_changes(request):
            return view(request, *args, **kwargs)

    return wrapped


@contextmanager
def audited_factor_changes(request: HttpRequest) -> Iterator[None]:
    """Run the block in a transaction; audit the factors that the block adds and removes.

    A new factor ends the user's other sessions, which have not passed it. If no factor is left and
    a team of the user requires one, the user's runs in it end and all connections are closed.
    """
    user = require_user(request)
    with transaction.atomic():
        before = _lock_factors(user)
        yield
        after = _factors(user)
        added = {kind for pk, kind in after.items() if pk not in before}
        removed = {kind for pk, kind in before.items() if pk not in after}
        teams = list(Team.objects.filter(members__user=user, require_mfa=True))
        if removed and not has_mfa(user) and teams:
            for hooks in account_hooks:
                hooks.access_blocked([user], teams)
            access_revoked(AccessRevoked(user_id=user.pk))
        if not added.isdisjoint(FACTORS):
            end_other_sessions(request, user)
        for kind in sorted(removed - added):
            audit(user, "user.mfa_removed", user.pk, before={"kind": kind})
        for kind in sorted(added):
            action = "user.mfa_reset" if kind in removed else "user.mfa_added"
            audit(user, action, user.pk, after={"kind": kind})


def _lock_factors(user: User) -> dict[int, str]:
    """Lock the user, so that no other request changes the factors; return them by id."""
    list(User.objects.select_for_update(no_key=True).filter(pk=user.pk).values_list("pk"))
    return _factors(user)


def _factors(user: User) -> dict[int, str]:
    return dict(Authenticator.objects.filter(user=user).values_list("pk", "type"))


activate_totp = _audited(totp.activate_totp)
deactivate_totp = _audited(totp.deactivate_totp)
add_webauthn = _audited(webauthn.add_webauthn)
remove_webauthn = _audited(webauthn.remove_webauthn)
generate_recovery_codes = _audited(recovery_codes.generate_recovery_codes)
