"""The list of a persona's versions in the studio."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.utils.text import capfirst
from django.utils.translation import gettext as _

from agents.models import Persona, PersonaVersion

VERSIONS_SHOWN: Final = 50


@dataclass(frozen=True, slots=True)
class VersionRow:
    """One row of the list."""

    number: int
    title: str
    author: str
    saved_at: datetime
    in_use: bool


def version_rows(persona: Persona) -> list[VersionRow]:
    """Return the newest VERSIONS_SHOWN versions, newest first."""
    found = persona.versions.select_related("created_by")[:VERSIONS_SHOWN]
    return [_row(version, persona) for version in found]


def field_labels(names: list[str]) -> str:
    """Return the labels of the fields, for example "Goal, backstory"."""
    labels = {field.name: str(field.verbose_name) for field in Persona._meta.concrete_fields}
    labels["tools"] = _("tools")
    return capfirst(", ".join(labels[name] for name in names))


def _row(version: PersonaVersion, persona: Persona) -> VersionRow:
    author = version.created_by
    return VersionRow(
        number=version.number,
        title=field_labels(version.changed) or _("Created"),
        author=author.name if author else "",
        saved_at=version.created_at,
        in_use=version.number == persona.version,
    )
