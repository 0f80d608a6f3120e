"""MCP servers of a team, and the sign-ins at them."""

from typing import ClassVar
from urllib.parse import urlsplit

from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.ids import new_id
from accounts.models import Team, User


class McpAuth(models.TextChoices):
    NONE = "none", _("None, or headers")
    BEARER = "bearer", _("Bearer token")
    OAUTH = "oauth", _("Sign-in (OAuth)")


class McpServer(models.Model):
    """A server with tools (Model Context Protocol over HTTP). Its secrets are encrypted at rest.

    `prefix` begins the names of its tools. If `personal`, each person signs in (`McpSignIn`), and a
    run uses the sign-in of its asker; otherwise one sign-in serves the team. `problem` is the code
    of the last check, empty if it succeeded.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="mcp_servers")
    name = models.CharField(_("name"), max_length=80)
    prefix = models.CharField(max_length=24)
    url = models.URLField(_("URL"), max_length=400)
    auth = models.CharField(_("sign-in"), max_length=6, choices=McpAuth, default=McpAuth.NONE)
    personal = models.BooleanField(_("each person signs in"), default=False)
    headers_encrypted = models.TextField(blank=True, editable=False)
    # What the authorization server has told: metadata, client id, encrypted client secret.
    oauth = models.JSONField(default=dict, editable=False)
    enabled = models.BooleanField(_("enabled"), default=True)
    checked_at = models.DateTimeField(null=True, editable=False)
    problem = models.CharField(max_length=32, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        default_permissions = ()
        ordering = ("name", "pk")
        constraints: ClassVar = [
            models.UniqueConstraint("team", Lower("name"), name="mcp_server_name_once"),
            models.UniqueConstraint(fields=["team", "prefix"], name="mcp_server_prefix_once"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def host(self) -> str:
        """The host of the URL, with its port; the rest of a URL may be secret."""
        return urlsplit(self.url).netloc


class McpSignIn(models.Model):
    """The tokens of one person at a server; without `user`, those that serve the whole team.

    A process that refreshes the tokens holds the lease until `refreshing_until`. A lease that has
    expired says that the outcome of a refresh is unknown: the refresh token may be used up. With
    `has_ended`, the authorization server accepts the tokens no longer: a person has to sign in
    again.
    """

    server = models.ForeignKey(McpServer, on_delete=models.CASCADE, related_name="sign_ins")
    user = models.ForeignKey(User, null=True, on_delete=models.CASCADE, related_name="+")
    tokens_encrypted = models.TextField(editable=False)
    expires_at = models.DateTimeField(null=True)
    refreshing_until = models.DateTimeField(null=True)
    has_ended = models.BooleanField(default=False, db_default=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["server", "user"], nulls_distinct=False, name="mcp_sign_in_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} at {self.server_id}"
