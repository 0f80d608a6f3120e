"""The admin site for runs: the workers of this server and the quotas of its teams.

They are not on a team's pages, because the workers serve all teams and the operator of the server
decides how many runs a team may have.
"""

from django import forms
from django.http import HttpRequest

from accounts.admin import LookupAdmin, PermissionFirstAdmin, audit_form, site
from rooms.models import TeamQuota, Worker


class WorkerAdmin(LookupAdmin):
    """Read-only list of the workers. A worker with an old `seen_at` is dead or suspended."""

    list_display = ("name", "seen_at", "running", "concurrency", "started_at")
    ordering = ("-seen_at",)
    fields = readonly_fields = list_display

    def has_change_permission(self, request: HttpRequest, obj: Worker | None = None) -> bool:
        return False


class TeamQuotaAdmin(PermissionFirstAdmin):
    """Quotas of teams that differ from the server's settings."""

    list_display = (
        *("team", "served_at"),
        *("runs_per_user", "runs_per_room", "runs_per_team"),
        *("queued_per_user", "queued_per_room", "queued_per_team"),
    )
    search_fields = ("team__name",)
    autocomplete_fields = ("team",)

    def has_delete_permission(self, request: HttpRequest, obj: TeamQuota | None = None) -> bool:
        return False

    def save_model(
        self,
        request: HttpRequest,
        obj: TeamQuota,
        form: forms.ModelForm[TeamQuota],
        change: bool,  # noqa: FBT001  # the signature is Django's
    ) -> None:
        """Save the quota, and write an audit entry to the audit log of the server."""
        super().save_model(request, obj, form, change)
        audit_form(request, "quota.changed", form, obj.team_id, audited_fields=["team"])


site.register(Worker, WorkerAdmin)
site.register(TeamQuota, TeamQuotaAdmin)
