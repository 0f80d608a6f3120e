"""What staff see of the runs of this server: its workers, and the lines of its teams.

It is on the admin site and not on a team's pages: workers serve all teams, and how much a team may
ask of them is for whoever pays for the server to say.
"""

from django import forms
from django.http import HttpRequest

from accounts.admin import LookupAdmin, PermissionFirstAdmin, audit_form, site
from rooms.models import TeamQuota, Worker


class WorkerAdmin(LookupAdmin):
    """Workers: to look up. One that has not been seen for a while has died or is frozen."""

    list_display = ("name", "seen_at", "running", "concurrency", "started_at")
    ordering = ("-seen_at",)
    fields = readonly_fields = list_display

    def has_change_permission(self, request: HttpRequest, obj: Worker | None = None) -> bool:
        return False


class TeamQuotaAdmin(PermissionFirstAdmin):
    """What a team may ask at once, where that is not what the server's settings say."""

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
        change: bool,  # noqa: FBT001  # as Django calls it
    ) -> None:
        """Write it down, in the log of the server: it is for whoever runs that to say."""
        super().save_model(request, obj, form, change)
        audit_form(request, "quota.changed", form, obj.team_id, audited_fields=["team"])


site.register(Worker, WorkerAdmin)
site.register(TeamQuota, TeamQuotaAdmin)
