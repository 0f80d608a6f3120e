"""Lines by which members steer a running answer."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from accounts.ids import new_id
from accounts.models import User
from rooms.models.runs import Run


class SteerState(models.TextChoices):
    ACCEPTED = "accepted"
    APPLIED = "applied"
    FAILED = "failed"


class Steer(models.Model):
    """A member's line to a running answer. `request` is the number of the request after which it
    was applied: the next request contains it."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    run = models.ForeignKey(Run, models.CASCADE, db_index=False, related_name="steering")
    user = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    author_name = models.CharField(max_length=40)
    author_handle = models.CharField(max_length=40)
    text = models.CharField(max_length=2_000)
    state = models.CharField(max_length=8, choices=SteerState, default=SteerState.ACCEPTED)
    request = models.PositiveSmallIntegerField(null=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        default_permissions = ()
        ordering = ("created_at", "pk")
        indexes: ClassVar = [models.Index(fields=["run", "state"], name="steer_of_run")]

    def __str__(self) -> str:
        return f"{self.pk} {self.state}"
