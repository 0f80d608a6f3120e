"""Services for the MCP servers of a team. Stored headers, tokens and secrets are never returned."""

import re
from collections.abc import Mapping
from typing import Final
from uuid import UUID

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as translate
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from accounts import rate_limits
from accounts.audit.log import audit
from accounts.database import release_connection
from accounts.errors import Conflict, Invalid
from accounts.models import Team, User
from accounts.names import clean_name
from accounts.permissions import access_team, lock_team
from agents.egress.guard import check_url
from agents.mcp import tokens
from agents.mcp.child import Report
from agents.mcp.listing import store_listing
from agents.mcp.transport import McpFailed
from agents.models import McpAuth, McpServer, PersonaTool
from agents.permissions import MANAGE, access_mcp_server
from agents.provider_keys import KeyUnreadable
from agents.services.connection_check import CheckResult
from agents.services.connections import CheckedUrl, origin
from agents.services.mcp_reports import inspect_server, problem_sentence
from agents.services.mcp_secrets import (
    encrypt_headers,
    entered_client,
    header_names,
    set_headers,
    stored_headers,
    validate_headers,
)
from agents.services.validation import clean_text, reject, unique_or_conflict, validate_row
from agents.tool_types import McpSpec

MAX_SERVERS: Final = 20
"""The MCP servers of a team."""
MAX_NAME_LENGTH: Final = 80
MAX_PREFIX: Final = 24


class InspectedUrl(CheckedUrl):
    """The URL of a server that has been inspected, with the report."""

    report: Report


def inspect_new_server(
    *, user: User, team_id: UUID, url: str, auth: str, headers: Mapping[str, str], token: str
) -> InspectedUrl:
    """Return the checked URL with a report; raise Invalid if the egress guard refuses the URL.

    Raise Conflict if the team has MAX_SERVERS, and RateLimited. Call it before a transaction
    starts: it takes seconds.
    """
    _check_count(access_team(user, team_id, MANAGE))
    rate_limits.consume(rate_limits.CHECK, user, team_id=team_id)
    return _inspect_new(team_id, url, auth, headers, token)


def _inspect_new(
    team_id: UUID, url: str, auth: str, headers: Mapping[str, str], token: str
) -> InspectedUrl:
    sent = validate_headers(headers, auth, token)
    checked = InspectedUrl(_check_server_url(url))
    if auth == McpAuth.OAUTH:
        checked.report = Report(problem="sign_in")
    else:
        checked.report = inspect_server(url=checked, team_id=team_id, headers=sent)
    return checked


def create_mcp_server(
    *,
    user: User,
    team_id: UUID,
    name: str,
    url: str,
    auth: str = McpAuth.NONE,
    personal: bool = False,
    enabled: bool = True,
    headers: Mapping[str, str] | None = None,
    token: str = "",
    client_id: str = "",
    client_secret: str = "",
) -> McpServer:
    """Add a server to the team, with its tools; raise Invalid, Conflict, RateLimited.

    A server that cannot be reached is added all the same, with its `problem`. A `url` that is not
    an `InspectedUrl` is inspected here.
    """
    team = access_team(user, team_id, MANAGE)
    server = McpServer(team=team, name=clean_name(name, max_length=MAX_NAME_LENGTH))
    server.auth, server.enabled = auth, enabled
    server.personal = personal and auth == McpAuth.OAUTH
    if not isinstance(url, InspectedUrl):
        url = inspect_new_server(
            user=user, team_id=team_id, url=url, auth=auth, headers=headers or {}, token=token
        )
    server.url = url
    server.headers_encrypted = encrypt_headers(validate_headers(headers or {}, auth, token))
    server.oauth = entered_client(auth, client_id, client_secret)
    with transaction.atomic():
        lock_team(user, team_id, MANAGE)  # the right may have ended during the inspection
        _check_count(team)
        server.prefix = _free_prefix(server)
        _save(server)
        _store_report(server, url.report)
        audit(user, "mcp.created", server.pk, team_id=team.pk, after=_audit_facts(server))
    return server


def update_mcp_server(
    *,
    user: User,
    server_id: UUID,
    name: str | None = None,
    url: str | None = None,
    auth: str | None = None,
    personal: bool | None = None,
    enabled: bool | None = None,
    headers: Mapping[str, str] | None = None,
    token: str | None = None,
    client_id: str | None = None,
    client_secret: str = "",
) -> McpServer:
    """Change the given fields. Empty `headers` and an empty `token` remove the stored ones.

    Secrets, sign-ins and approvals are valid only for the origin that they were given for, so
    another origin removes them. Another kind of sign-in removes the secrets, too.
    """
    current = access_mcp_server(user, server_id, MANAGE)
    checked = None if url is None else _check_server_url(url)
    with transaction.atomic():
        server = _lock_server(user, server_id)
        before = _audit_facts(server)
        moved = checked is not None and origin(checked) != origin(server.url)
        if moved:
            server.tools.update(approved_sha256="")
        if moved or auth not in (None, server.auth):
            _forget_secrets(server)
        server.auth = auth or server.auth
        server.url = checked or server.url
        server.enabled = server.enabled if enabled is None else enabled
        if name is not None:
            server.name = clean_name(name, max_length=MAX_NAME_LENGTH)
        if personal is not None and personal != server.personal:
            server.sign_ins.all().delete()
            server.personal = personal
        server.personal = server.personal and server.auth == McpAuth.OAUTH
        if headers is not None or token is not None:
            set_headers(server, headers, token)
        if client_id is not None and client_id != server.oauth.get("client_id"):
            server.sign_ins.all().delete()
            server.oauth = entered_client(server.auth, client_id, client_secret)
        _save(server)
        after = _audit_facts(server)
        audit(user, "mcp.changed", current.pk, team_id=server.team_id, before=before, after=after)
    return server


@transaction.atomic
def delete_mcp_server(*, user: User, server_id: UUID) -> None:
    """Delete a server with its secrets, sign-ins and tools; personas lose the tools."""
    server = _lock_server(user, server_id)
    team_id, before = server.team_id, _audit_facts(server)
    PersonaTool.objects.filter(tool__in=server.tools.values("pk")).delete()
    server.delete()
    audit(user, "mcp.deleted", server_id, team_id=team_id, before=before)


def refresh_mcp_server(*, user: User, server_id: UUID) -> McpServer:
    """List the tools of a server again, and store what has changed.

    Raise RateLimited, and Conflict if the server was changed since the start: the list is that of
    the address and the secrets of before.
    """
    server = access_mcp_server(user, server_id, MANAGE)
    rate_limits.consume(rate_limits.CHECK, user, team_id=server.team_id)
    read = _target(server)
    report = _inspect_stored(server, user, server.url)
    with transaction.atomic():
        server = _lock_server(user, server_id)
        if _target(server) != read:
            raise Conflict(_("The server was changed in the meantime. List its tools again."))
        changed = _store_report(server, report)
        facts = {"problem": server.problem, "changed_tools": changed}
        audit(user, "mcp.refreshed", server.pk, team_id=server.team_id, after=facts)
    return server


def check_mcp_server(
    *,
    user: User,
    server_id: UUID,
    url: str | None = None,
    headers: Mapping[str, str] | None = None,
    token: str = "",
) -> CheckResult:
    """Check a server as it is stored, or with values that are not saved yet. Store nothing.

    Stored secrets are sent only to the origin that they were entered for. Raise RateLimited.
    """
    server = access_mcp_server(user, server_id, MANAGE)
    rate_limits.consume(rate_limits.CHECK, user, team_id=server.team_id)
    try:
        checked = server.url if url is None else _check_server_url(url)
        typed = validate_headers(headers or {}, server.auth, token)
    except Invalid as refused:
        return CheckResult(False, str(refused.detail))
    if typed:
        return _result(inspect_server(url=checked, team_id=server.team_id, headers=typed))
    return _result(_inspect_stored(server, user, checked))


def check_new_mcp_server(
    *, user: User, team_id: UUID, url: str, auth: str, headers: Mapping[str, str], token: str
) -> CheckResult:
    """Check a server that is not saved yet. Raise RateLimited."""
    access_team(user, team_id, MANAGE)
    rate_limits.consume(rate_limits.CHECK, user, team_id=team_id)
    try:
        inspected = _inspect_new(team_id, url, auth, headers, token)
    except Invalid as refused:
        return CheckResult(False, str(refused.detail))
    return _result(inspected.report)


def _inspect_stored(server: McpServer, user: User, url: str) -> Report:
    """Inspect a server with what is stored for its origin."""
    if origin(url) != origin(server.url):
        return inspect_server(url=url, team_id=server.team_id, headers={})
    try:
        headers = stored_headers(server)
        if server.auth == McpAuth.OAUTH:
            asked_by = user.pk if server.personal else None
            spec = McpSpec(id=server.pk, team_id=server.team_id, url=server.url, user=asked_by)
            headers["Authorization"] = f"Bearer {tokens.access_token_sync(spec)}"
    except KeyUnreadable:
        return Report(problem="unauthorized")
    except McpFailed as failure:
        return Report(problem=failure.code)
    return inspect_server(url=url, team_id=server.team_id, headers=headers)


def _target(server: McpServer) -> tuple[object, ...]:
    """Return what an inspection depends on."""
    return server.url, server.auth, server.personal, server.headers_encrypted


def _store_report(server: McpServer, report: Report) -> int:
    """Store what an inspection by an admin has found; return how many tools have changed."""
    if report.problem:
        server.problem, server.checked_at = report.problem, timezone.now()
        server.save(update_fields=["problem", "checked_at"])
        return 0
    changed = store_listing(server.pk, report.tools, url=server.url, approve_first=True)
    server.refresh_from_db(fields=["problem", "checked_at"])
    return len(changed)


def _result(report: Report) -> CheckResult:
    if report.problem:
        return CheckResult(False, problem_sentence(report.problem))
    count = len(report.tools)
    words = ngettext(
        "The server works: it has %(count)d tool.",
        "The server works: it has %(count)d tools.",
        count,
    ) % {"count": count}
    if report.left_out:
        words += " " + translate("Some tools are left out, because their definitions are too long.")
    return CheckResult(True, words)


def _check_count(team: Team) -> None:
    if team.mcp_servers.count() >= MAX_SERVERS:
        raise Conflict(_("This team has 20 tool servers. Delete one before you add another."))


def _check_server_url(url: str) -> CheckedUrl:
    cleaned = clean_text(url).rstrip("/")
    if not cleaned:
        reject("url", _("Enter the server's address."))
    release_connection()
    try:
        check_url(cleaned)
    except Invalid as refused:
        reject("url", refused.detail)
    return CheckedUrl(cleaned)


def _lock_server(user: User, server_id: UUID) -> McpServer:
    """Like `access_mcp_server`, under locks on the team and on the server; access is asked again.

    The right may have ended while this call waited, or while the server was inspected.
    """
    team_id = access_mcp_server(user, server_id, MANAGE).team_id
    lock_team(user, team_id, MANAGE)
    list(McpServer.objects.select_for_update(no_key=True).filter(pk=server_id).values_list("pk"))
    return access_mcp_server(user, server_id, MANAGE)


def _forget_secrets(server: McpServer) -> None:
    server.headers_encrypted, server.oauth = "", {}
    server.sign_ins.all().delete()


def _free_prefix(server: McpServer) -> str:
    """Return the prefix of the server's tools: its name in plain letters, unique in the team."""
    plain = re.sub(r"[^a-z0-9]+", "-", server.name.lower()).strip("-")[:MAX_PREFIX].strip("-")
    taken = set(McpServer.objects.filter(team=server.team_id).values_list("prefix", flat=True))
    prefix, number = plain or "tools", 2
    while prefix in taken:
        prefix = f"{(plain or 'tools')[: MAX_PREFIX - 3]}-{number}"
        number += 1
    return prefix


def _save(server: McpServer) -> None:
    validate_row(server, exclude={"oauth"})
    with unique_or_conflict(
        "name", _("Another server of this team has this name. Choose another one.")
    ):
        server.save()


def _audit_facts(server: McpServer) -> dict[str, object]:
    """Return the values for the audit log, which contains no secret."""
    return {
        "name": server.name,
        "server": "{}://{}:{}".format(*origin(server.url)),
        "auth": server.auth,
        "personal": server.personal,
        "enabled": server.enabled,
        "headers": header_names(server),
    }
