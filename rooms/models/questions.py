"""Questions of personas to people, and the answers."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.utils import timezone

from accounts.models import User
from rooms.models.rooms import Room
from rooms.models.tools import ToolCall


class QuestionState(models.TextChoices):
    OPEN = "open"
    ANSWERED = "answered"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


class Question(models.Model):
    """A question that a persona asks people by a tool call, which waits for the answers.

    `choices` are texts, none for a short answer in own words. `asked_of` are the ids of the users
    who may answer, as strings; each of them may answer once.
    """

    call = models.OneToOneField(
        ToolCall, on_delete=models.CASCADE, primary_key=True, related_name="question"
    )
    room = models.ForeignKey(Room, models.CASCADE, db_index=False, related_name="+")
    text = models.CharField(max_length=1_000)
    choices = models.JSONField(default=list)
    asked_of = models.JSONField(default=list)
    state = models.CharField(max_length=9, choices=QuestionState, default=QuestionState.OPEN)
    expires_at = models.DateTimeField()
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        default_permissions = ()
        indexes: ClassVar = [
            models.Index(
                fields=["expires_at"], condition=models.Q(state="open"), name="question_open"
            ),
            models.Index(fields=["room", "state"], name="question_of_room"),
            GinIndex(
                fields=["asked_of"],
                opclasses=["jsonb_path_ops"],
                condition=models.Q(state="open"),
                name="question_asked_of",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.pk} {self.state}"


class QuestionAnswer(models.Model):
    """The answer of one person to a question."""

    question = models.ForeignKey(Question, models.CASCADE, db_index=False, related_name="answers")
    user = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    author_name = models.CharField(max_length=40)
    author_handle = models.CharField(max_length=40)
    text = models.CharField(max_length=2_000)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["question", "user"], name="question_answer_once"),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} on {self.question_id}"
