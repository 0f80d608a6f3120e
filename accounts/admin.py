"""The admin site: for staff only, who sign in by two steps through the same page as everybody.

It shows what whoever runs the server must look up, and suspends. Digests, passwords and tokens are
not in it, and nothing is made or deleted here: there are services for that, with their rules.
"""

from collections.abc import Collection
from typing import Any, ClassVar
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _

from accounts.audit.log import audit
from accounts.mfa import has_mfa
from accounts.models import AuditEntry, Team, TeamMember, User
from accounts.permissions import require_user
from accounts.services import suspend_user


class StaffSite(admin.AdminSite):
    """Django's admin without ways in and out of its own.

    They know no rate limit, and end neither sockets nor tokens.
    """

    site_header = site_title = "Maru"
    index_title = _("People and teams of this server")

    def has_permission(self, request: HttpRequest) -> bool:
        """Staff, who sign in by two steps."""
        return super().has_permission(request) and has_mfa(require_user(request))

    @method_decorator(login_not_required)
    def login(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Send whoever is not signed in to the one page for that; others have no business here.

        Staff without a second step are led to set it up.
        """
        if super().has_permission(request):
            messages.info(request, _("The admin site asks for two-step sign-in. Set it up first."))
            return redirect("mfa_index")
        if request.user.is_authenticated:
            raise PermissionDenied
        return redirect_to_login(request.GET.get(REDIRECT_FIELD_NAME) or request.path)

    def logout(  # type: ignore[override]  # where to do it, not that it is done
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Log out as everywhere."""
        return redirect("account_logout")

    def password_change(  # type: ignore[override]  # ditto
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Change the password as everywhere."""
        return redirect("account_change_password")


class Guarded(admin.ModelAdmin[Any]):
    """Rows whose pages ask for the right first, and then for the row."""

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Django asks the other way round, which tells those without the right what is there."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        return super().history_view(request, object_id, extra_context)


class LookUp(Guarded):
    """Rows that are neither made nor deleted here."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False


def audit_form(
    request: HttpRequest,
    action: str,
    form: forms.ModelForm[Any],
    target: UUID,
    *,
    told: Collection[str] = (),
) -> None:
    """Write down what a form of this site has changed, but for what is `told` by other means."""
    changed = [name for name in form.changed_data if name not in told]
    if changed:
        before = {name: form.initial.get(name) for name in changed}
        after = {name: form.cleaned_data[name] for name in changed}
        audit(require_user(request), action, target, before=before, after=after)


class UserAdmin(LookUp):
    """People: to look up, and to suspend."""

    list_display = ("email", "name", "handle", "is_active", "is_staff", "date_joined")
    list_filter = ("is_active", "is_staff")
    search_fields = ("email", "name", "handle")
    ordering = ("email",)
    fields: ClassVar = (
        *("email", "name", "handle"),
        *("is_active", "is_staff", "is_superuser"),
        *("last_login", "date_joined"),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        """Who is staff is for superusers to say."""
        fixed = ("email", "name", "handle", "last_login", "date_joined")
        superuser = isinstance(request.user, User) and request.user.is_superuser
        return fixed if superuser else (*fixed, "is_staff", "is_superuser")

    def save_model(
        self,
        request: HttpRequest,
        obj: User,
        form: forms.ModelForm[User],
        change: bool,  # noqa: FBT001  # as Django calls it
    ) -> None:
        """Write down who is staff; a suspension ends what is open, beside keeping somebody out."""
        super().save_model(request, obj, form, change)
        suspended = "is_active" in form.changed_data and not obj.is_active
        if suspended:
            suspend_user(person=obj, user=require_user(request))
        told = ["is_active"] if suspended else []
        audit_form(request, "user.changed", form, obj.pk, told=told)


class TeamMemberInline(admin.TabularInline[TeamMember, Team]):
    """Who is in a team. Roles are set in the team, where permissions follow them."""

    model = TeamMember
    fields = readonly_fields = ("user", "role", "joined_at", "suspended_at")
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Team | None = None) -> bool:
        return False


class TeamAdmin(LookUp):
    """Teams: to look up."""

    list_display = ("name", "created_at")
    search_fields = ("name",)
    fields = readonly_fields = ("name", "created_at", "deleted_at")
    inlines: ClassVar = [TeamMemberInline]


class AuditAdmin(LookUp):
    """The audit of everything, with what belongs to no team; no secret is in it."""

    list_display = ("created_at", "team", "actor", "action", "target_id", "ip", "refused")
    list_filter = ("refused", "target_kind")
    search_fields = ("action",)
    ordering = ("-created_at",)

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False


site = StaffSite(name="admin")
site.register(User, UserAdmin)
site.register(Team, TeamAdmin)
site.register(AuditEntry, AuditAdmin)
