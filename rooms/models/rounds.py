"""Rounds: several personas that answer one message in turn."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from accounts.ids import new_id
from accounts.models import User
from rooms.models.messages import Message
from rooms.models.rooms import Room


class RoundState(models.TextChoices):
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


class Round(models.Model):
    """A message that personas answer in turn, see `rooms.runs.crews.round_steps`.

    `steps` is a list of `payloads.RoundStep`, in order. Changed under the lock of the room.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    room = models.ForeignKey(Room, on_delete=models.CASCADE, related_name="rounds")
    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="rounds")
    requested_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    steps = models.JSONField(default=list)
    state = models.CharField(max_length=9, choices=RoundState, default=RoundState.RUNNING)
    created_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()
        indexes: ClassVar = [
            models.Index(
                fields=["room"],
                condition=models.Q(state__in=["running", "paused"]),
                name="round_active_in_room",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.pk} {self.state}"
