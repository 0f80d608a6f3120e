"""The user's own settings: profile, language and API tokens."""

from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from accounts.errors import MaruError
from accounts.models import ApiToken, User
from accounts.permissions import require_user
from accounts.scopes import implied_scopes
from accounts.services import create_token, revoke_token, update_profile
from accounts.views.error_pages import show_error
from accounts.views.forms import ProfileForm, TokenForm


@require_http_methods(["GET", "POST"])
def profile(request: HttpRequest) -> HttpResponse:
    """Show and change the name, the colour and the language."""
    user = require_user(request)
    form = ProfileForm(
        request.POST or None,
        initial={"name": user.name, "wood": user.wood, "language": get_language()},
    )
    if form.is_valid():
        data = form.cleaned_data
        try:
            update_profile(user=user, name=data["name"], wood=data["wood"])
        except MaruError as error:
            show_error(request, error, form)
        else:
            messages.success(request, _("Saved."))
            return _with_language(redirect("accounts:profile"), data["language"])
    return render(request, "accounts/profile.html", {"form": form, "section": "profile"})


@require_http_methods(["GET", "POST"])
def tokens(request: HttpRequest) -> HttpResponse:
    """List the tokens and create one. Only this response contains the secret of a new token."""
    user = require_user(request)
    form = TokenForm(request.POST or None, user=user)
    secret = None
    if form.is_valid():
        try:
            _token, secret = _create_token(user, form)
            form = TokenForm(user=user)
        except MaruError as error:
            show_error(request, error, form)
    context = {
        "form": form,
        "secret": secret,
        "tokens": ApiToken.objects.in_scope_of(user).select_related("team"),
        "section": "tokens",
        "now": timezone.now(),
    }
    return render(request, "accounts/tokens.html", context)


@require_POST
def revoke(request: HttpRequest, token_id: UUID) -> HttpResponse:
    """Revoke a token."""
    revoke_token(user=require_user(request), token_id=token_id)
    messages.success(request, _("The token is revoked."))
    return redirect("accounts:tokens")


def _create_token(user: User, form: TokenForm) -> tuple[ApiToken, str]:
    data = form.cleaned_data
    days = None if data["days"] == "never" else int(data["days"])
    return create_token(
        user=user,
        name=data["name"],
        scopes=implied_scopes([data["scope"]]),
        team=data["team"],
        expires_at=timezone.now() + timedelta(days=days) if days else None,
    )


def _with_language(response: HttpResponse, language: str) -> HttpResponse:
    """Set the language cookie: the language is a setting of the browser, not of the account."""
    response.set_cookie(
        settings.LANGUAGE_COOKIE_NAME,
        language,
        max_age=settings.LANGUAGE_COOKIE_AGE,
        path=settings.LANGUAGE_COOKIE_PATH,
        secure=settings.LANGUAGE_COOKIE_SECURE,
        httponly=settings.LANGUAGE_COOKIE_HTTPONLY,
        samesite="Lax",
    )
    return response
