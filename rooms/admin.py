"""What staff see of the runs of this server: its workers, and the lines of its teams.

It is on the admin site and not on a team's pages: workers serve all teams, and how much a team may
ask of them is for whoever pays for the server to say.
"""

from django.http import HttpRequest

from accounts.admin import Guarded, LookUp, site
from rooms.models import Line, Worker


class WorkerAdmin(LookUp):
    """Workers: to look up. One that has not been seen for a while has died or is frozen."""

    list_display = ("name", "seen_at", "running", "concurrency", "started_at")
    ordering = ("-seen_at",)
    fields = readonly_fields = list_display

    def has_change_permission(self, request: HttpRequest, obj: Worker | None = None) -> bool:
        return False


class LineAdmin(Guarded):
    """What a team may ask at once, where that is not what the server's settings say."""

    list_display = (
        *("team", "served_at"),
        *("runs_per_user", "runs_per_room", "runs_per_team"),
        *("queued_per_user", "queued_per_room", "queued_per_team"),
    )
    search_fields = ("team__name",)
    autocomplete_fields = ("team",)

    def has_delete_permission(self, request: HttpRequest, obj: Line | None = None) -> bool:
        return False


site.register(Worker, WorkerAdmin)
site.register(Line, LineAdmin)
