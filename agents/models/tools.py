"""Tools that are not our own, and what a persona may do with each tool."""

from typing import ClassVar, Final

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.ids import new_id
from accounts.models import Team
from agents.models.mcp import McpServer
from agents.models.personas import Persona

MAX_TOOL_NAME: Final = 64
"""The longest name that all providers accept."""
MAX_TITLE: Final = 80


class Reach(models.TextChoices):
    """How far the data that a tool reads or sends may come or go."""

    ROOM = "room", _("This room")
    TEAM = "team", _("This team")
    INTERNET = "internet", _("The internet")


class ToolPolicy(models.TextChoices):
    """When a persona may use a tool; a persona without a row for a tool never uses it."""

    ALWAYS = "always", _("Always")
    ASK = "ask", _("Ask")
    NEVER = "never", _("Never")


class Deciders(models.TextChoices):
    """Who may decide on a call that asks: the moderators of the room, and with ASKER the asker."""

    ASKER = "asker", _("The person who asked, or a moderator")
    MODERATORS = "moderators", _("A moderator")


class Tool(models.Model):
    """A tool of an MCP server, or one that the operator has installed (without team and server).

    Our own tools are in `agents.tools.catalog`. `key` is the server's name of the tool, or the
    dotted path of its class; `name` is what models see. `sha256` is the hash of the definition, and
    a tool may be used only while `approved_sha256` is the same. `claims` is what the server says of
    changes and repetition, for admins to read; `changes` and `idempotent` are what holds. `listed`
    is False for a tool that its server has no longer.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    team = models.ForeignKey(Team, null=True, on_delete=models.CASCADE, related_name="tools")
    server = models.ForeignKey(McpServer, null=True, on_delete=models.CASCADE, related_name="tools")
    key = models.CharField(max_length=200)
    name = models.CharField(max_length=MAX_TOOL_NAME)
    title = models.CharField(max_length=MAX_TITLE)
    description = models.TextField(blank=True)
    parameters = models.JSONField(default=dict)
    reach = models.CharField(max_length=8, choices=Reach, default=Reach.INTERNET)
    changes = models.BooleanField(default=True)
    idempotent = models.BooleanField(default=False)
    claims = models.JSONField(default=dict, db_default={})
    sha256 = models.CharField(max_length=64)
    approved_sha256 = models.CharField(max_length=64, blank=True)
    listed = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        default_permissions = ()
        ordering = ("name", "pk")
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["server", "key"], nulls_distinct=False, name="tool_key_once"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def approved(self) -> bool:
        """True if an admin has approved the definition as it is now."""
        return self.sha256 == self.approved_sha256


class PersonaTool(models.Model):
    """What a persona may do with a tool: its policy, and who decides if the policy is to ask.

    No constraint on `tool`: our own tools have no rows.
    """

    persona = models.ForeignKey(Persona, on_delete=models.CASCADE, related_name="tool_policies")
    tool = models.UUIDField()
    policy = models.CharField(max_length=6, choices=ToolPolicy)
    deciders = models.CharField(max_length=10, choices=Deciders, default=Deciders.ASKER)

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["persona", "tool"], name="persona_tool_once"),
        ]
        indexes: ClassVar = [models.Index(fields=["tool"], name="persona_tool_of_tool")]

    def __str__(self) -> str:
        return f"{self.tool} {self.policy} for {self.persona_id}"
