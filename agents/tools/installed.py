"""The tools of MARU_TOOLS: classes of CrewAI that the operator has installed.

Only workers import this module and the classes; they write a row for each class when they start, so
that web processes can list the tools. A class can say more about itself by attributes:

    title        for people, at most 80 characters; by default its `name`
    reach        "room", "team" or "internet" (the default)
    changes      whether it changes something outside: True by default
    idempotent   whether a call may be repeated: False by default

`name`, `description` and `args_schema` are those of CrewAI's BaseTool.
"""

import importlib
import re
from typing import Any, Final
from uuid import UUID, uuid5

from crewai.tools import BaseTool
from django.conf import settings
from django.db import transaction
from pydantic import BaseModel

from agents.models import Reach, Tool
from agents.models.tools import MAX_TOOL_NAME
from agents.tools.registry import hash_definition

NAMESPACE: Final = UUID("70020000-0000-7000-8000-000000000000")
"""The id of a row is derived from its key, so that workers that start at once write one row."""


class NotInstalled(Exception):
    """MARU_TOOLS does not name this tool, or it cannot be used; the text is for the operator."""


def create(key: str) -> BaseTool:
    """Return a new tool of the class `package.module:Class`. Raises NotInstalled.

    Only an entry of MARU_TOOLS is imported: the key of a row in the database may be any text.
    """
    if key not in settings.TOOLS:
        raise NotInstalled(f"MARU_TOOLS does not name {key!r}.")
    module, _, name = key.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
        tool = found() if isinstance(found, type) else found
    except Exception as error:
        # Not the text of the error: it can quote what the module has read, such as a key.
        reason = type(error).__name__
        raise NotInstalled(f"MARU_TOOLS: {key} cannot be imported ({reason}).") from error
    if not isinstance(tool, BaseTool):
        raise NotInstalled(f"MARU_TOOLS: {key} is no BaseTool of CrewAI.")
    return tool


def register() -> list[str]:
    """Write the rows of all tools of MARU_TOOLS; return a sentence for each that cannot be used.

    A tool that MARU_TOOLS names no longer, or that cannot be used, is not offered any more. Its row
    stays, because personas and their versions refer to it.
    """
    rows: list[Tool] = []
    mistakes: list[str] = []
    for key in dict.fromkeys(settings.TOOLS):
        try:
            rows.append(_row(key, create(key)))
        except NotInstalled as mistake:
            mistakes.append(str(mistake))
        except Exception as error:
            reason = type(error).__name__
            mistakes.append(f"MARU_TOOLS: {key} does not describe itself as a tool ({reason}).")
    written = [field.name for field in Tool._meta.concrete_fields]
    kept = {"id", "created_at", "team", "server", "key"}
    with transaction.atomic():
        others = Tool.objects.filter(team=None, server=None, listed=True)
        others.exclude(pk__in=[row.pk for row in rows]).update(listed=False)
        Tool.objects.bulk_create(
            rows,
            update_conflicts=True,
            unique_fields=["id"],
            update_fields=[name for name in written if name not in kept],
        )
    return mistakes


def _row(key: str, tool: Any) -> Tool:  # Any: a class may have our attributes or not
    parameters = _parameters(tool.args_schema)
    title = " ".join(str(getattr(tool, "title", "") or tool.name).split())[:80]
    facts = {
        "name": re.sub(r"[^A-Za-z0-9_-]+", "_", tool.name).strip("_")[:MAX_TOOL_NAME] or "tool",
        "title": title,
        "description": str(tool.description)[:8_000],
        "parameters": parameters,
        "reach": Reach(getattr(tool, "reach", Reach.INTERNET)),
        "changes": bool(getattr(tool, "changes", True)),
        "idempotent": bool(getattr(tool, "idempotent", False)),
    }
    digest = hash_definition([key, *map(str, facts.values())])
    # The operator has approved the definition by installing it.
    hashes = {"sha256": digest, "approved_sha256": digest}
    return Tool(id=uuid5(NAMESPACE, key), key=key, listed=True, **facts, **hashes)


def _parameters(schema: type[BaseModel]) -> dict[str, Any]:
    return schema.model_json_schema()
