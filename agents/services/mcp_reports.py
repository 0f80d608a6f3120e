"""Words the problems of MCP servers for people, and inspects servers from a web process."""

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts.database import release_connection
from agents.mcp import child
from agents.mcp.child import Report

SENTENCES: Final[Mapping[str, str | Promise]] = {
    "not_allowed": _(
        "This address is not public. Use a public one, or ask the server's operator to allow it."
    ),
    "removed": _("The server was changed or disabled while it was asked. Try again."),
    "unreachable": _("The server cannot be reached. Check the address and the port."),
    "lost": _("The server ended the connection before it answered. Try again later."),
    "unauthorized": _("The server asks for a sign-in, or refused the token. Check the sign-in."),
    "forbidden": _("The server refused access. Check the token and its rights."),
    "expired": _("The server ended the session. Try again."),
    "not_found": _("No MCP server was found at this address. Addresses often end in /mcp."),
    "redirected": _("This address redirects to another one. Enter that address instead."),
    "busy": _("The server received too many requests. Try again later."),
    "failed": _("The server reported an error. Try again later."),
    "too_large": _("The server sent too much. Its list of tools cannot be read."),
    "not_mcp": _("The server at this address does not speak MCP over HTTP. Check the address."),
    "timeout": _("The server did not answer in time. Check the address, or try again later."),
    "sign_in": _("Sign in to the server first."),
    "guest": _("Guests of the team cannot use this server."),
}


def problem_sentence(problem: str) -> str:
    """Return the sentence for the stored problem of a server; empty without a problem."""
    return str(SENTENCES.get(problem, SENTENCES["failed"])) if problem else ""


def inspect_server(*, url: str, team_id: UUID, headers: Mapping[str, str]) -> Report:
    """Like `child.inspect_server`, without holding a database connection."""
    release_connection()
    return child.inspect_server(url=url, team_id=team_id, headers=headers)
