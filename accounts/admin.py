"""The admin site: staff with two-step sign-in look up users, teams and audit entries.

Staff can deactivate and reactivate accounts here. The admin site creates and deletes nothing,
because only the services check the rules for that. It does not show hashes, passwords or tokens.
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

from accounts.audit.log import audit, audit_last
from accounts.mfa import has_mfa
from accounts.models import AuditEntry, Team, TeamMember, User
from accounts.permissions import require_user
from accounts.services import restore_user, suspend_user


class StaffSite(admin.AdminSite):
    """Django's admin without Django's own pages for sign-in, sign-out and passwords.

    Django's pages have no rate limit, and they neither close sockets nor delete tokens.
    """

    site_header = site_title = "Maru"
    index_title = _("Users and teams of this server")

    def has_permission(self, request: HttpRequest) -> bool:
        """Return True for active staff with two-step sign-in."""
        return super().has_permission(request) and has_mfa(require_user(request))

    @method_decorator(login_not_required)
    def login(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Redirect anonymous visitors to the sign-in page; raise PermissionDenied for other users.

        Staff without two-step sign-in are redirected to the page that sets it up.
        """
        if super().has_permission(request):
            messages.info(request, _("The admin site requires two-step sign-in. Set it up first."))
            return redirect("mfa_index")
        if request.user.is_authenticated:
            raise PermissionDenied
        return redirect_to_login(request.GET.get(REDIRECT_FIELD_NAME) or request.path)

    def logout(  # type: ignore[override]  # a redirect, not a TemplateResponse
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Redirect to the page that signs out."""
        return redirect("account_logout")

    def password_change(  # type: ignore[override]  # a redirect as well
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Redirect to the page that changes the password."""
        return redirect("account_change_password")


class PermissionFirstAdmin(admin.ModelAdmin[Any]):
    """A ModelAdmin whose pages check the permission before they look up the row."""

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Check the permission before Django looks up the row: a 404 would reveal what exists."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        return super().history_view(request, object_id, extra_context)


class LookupAdmin(PermissionFirstAdmin):
    """A ModelAdmin that neither adds nor deletes rows."""

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
    audited_fields: Collection[str] = (),
) -> None:
    """Audit the fields that an admin form has changed, except fields that a service has audited."""
    changed = [name for name in form.changed_data if name not in audited_fields]
    if changed:
        before = {name: form.initial.get(name) for name in changed}
        after = {name: form.cleaned_data[name] for name in changed}
        audit(require_user(request), action, target, before=before, after=after)


class UserAdmin(LookupAdmin):
    """Users: staff look them up, deactivate and reactivate their accounts."""

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
        """Return the read-only fields: only superusers may change `is_staff` and `is_superuser`."""
        readonly = ("email", "name", "handle", "last_login", "date_joined")
        superuser = isinstance(request.user, User) and request.user.is_superuser
        return readonly if superuser else (*readonly, "is_staff", "is_superuser")

    def save_model(
        self,
        request: HttpRequest,
        obj: User,
        form: forms.ModelForm[User],
        change: bool,  # noqa: FBT001  # Django passes it by position
    ) -> None:
        """Save and audit the user; a service deactivates and reactivates the account."""
        super().save_model(request, obj, form, change)
        with audit_last():
            if "is_active" in form.changed_data:
                set_active = restore_user if obj.is_active else suspend_user
                set_active(person=obj, user=require_user(request))
            audit_form(request, "user.changed", form, obj.pk, audited_fields=["is_active"])


class TeamMemberInline(admin.TabularInline[TeamMember, Team]):
    """The members of a team, read-only: services change roles together with permissions."""

    model = TeamMember
    fields = readonly_fields = ("user", "role", "joined_at", "suspended_at")
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Team | None = None) -> bool:
        return False


class TeamAdmin(LookupAdmin):
    """Teams, read-only."""

    list_display = ("name", "created_at")
    search_fields = ("name",)
    fields = readonly_fields = ("name", "created_at", "deleted_at")
    inlines: ClassVar = [TeamMemberInline]


class AuditAdmin(LookupAdmin):
    """All audit entries, of teams and of the installation, read-only."""

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
