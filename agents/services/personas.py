"""Services for personas. Each saved change is a version, and each version can be restored."""

from collections import Counter
from collections.abc import Sequence
from itertools import product
from math import isfinite
from typing import Any, Final, Literal, TypedDict, Unpack, cast
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.urls import reverse
from django.utils.translation import gettext as _

from accounts.audit.log import audit, audit_last
from accounts.errors import Conflict, NotFound
from accounts.models import Team, User
from accounts.names import clean_handle, clean_line, clean_name, handle_for, handle_key
from accounts.permissions import lock_team
from accounts.services.handles import TAKEN, release_handle, take_handle, taken_handles
from agents.engine_types import AnswerFailed, PersonaSpec
from agents.hooks import agent_hooks
from agents.models import Connection, ConnectionKind, Lattice, Persona, PersonaVersion, Pigment
from agents.permissions import CHANGE, EDIT, MANAGE, access_persona, lock_persona
from agents.provider_keys import KeyUnreadable, decrypt
from agents.services.connections import DEMO_MODEL
from agents.services.grants import grant_defaults
from agents.services.persona_tools import ToolChoice, list_tools, replace_tools, restorable
from agents.services.validation import clean_text, reject, unique_or_conflict, validate_row
from agents.tools.registry import specs_for

TEXTS: Final = ("goal", "backstory", "instructions", "model", "pigment", "lattice")
NUMBERS: Final = ("temperature", "max_output_tokens")
MODEL_FIELDS: Final = frozenset({"connection", "model", "max_output_tokens"})
MAX_PERSONAS: Final = 200
"""The personas of a team."""
VERSIONED: Final = ("name", "handle", "role", "connection", *TEXTS, *NUMBERS, "tools")


class PersonaFields(TypedDict, total=False):
    """The fields of a version."""

    name: str
    handle: str
    role: str
    goal: str
    backstory: str
    instructions: str
    connection: UUID
    model: str
    temperature: float | None
    max_output_tokens: int | None
    pigment: str
    lattice: str
    tools: Sequence[ToolChoice]


@transaction.atomic
def create_persona(*, user: User, team_id: UUID, **fields: Unpack[PersonaFields]) -> Persona:
    """Add a persona to the team, as version 1; raise Invalid, which names the wrong fields.

    Without a colour or a pattern, the persona gets that of `unlike_others`.
    """
    team = lock_team(user, team_id, MANAGE)
    if team.personas.count() >= MAX_PERSONAS:
        raise Conflict(_("This team has 200 personas. Delete one before you create another."))
    pigment, lattice = unlike_others(team)
    persona = Persona(team=team, pigment=pigment, lattice=lattice)
    _set(persona, fields)
    if not persona.handle:
        persona.handle = free_handle(team, handle_for(persona.name) or "persona")
    _save(persona)
    replace_tools(user, persona, fields.get("tools", ()))
    grant_defaults(persona)
    _keep_version(persona, user, changed=[])
    for hooks in agent_hooks:
        hooks.persona_changed(persona)
    audit(user, "persona.created", persona.pk, team_id=team.pk, after={"handle": persona.handle})
    return persona


def unlike_others(team: Team) -> tuple[str, str]:
    """Return a colour and a pattern that few personas of the team have: no other one has both.

    In a team with more personas than tiles, the tile is one that the fewest personas have.
    """
    used = list(team.personas.values_list("pigment", "lattice"))
    pigments, lattices = Counter(p for p, _ in used), Counter(each for _, each in used)
    tiles = Counter(used)
    every = product(Pigment.values, sorted(Lattice.values, key=Lattice.GYEOKSAL.value.__ne__))
    return min(every, key=lambda tile: (tiles[tile], pigments[tile[0]] + lattices[tile[1]]))


@transaction.atomic
def update_persona(
    *, user: User, persona_id: UUID, version: int | None = None, **fields: Unpack[PersonaFields]
) -> Persona:
    """Save the given fields as the next version; if no field differs, save nothing.

    `version` is the version that the caller has read. Raises Conflict if a newer version exists.
    """
    persona = lock_persona(user, persona_id, EDIT)
    if version is not None and version != persona.version:
        raise Conflict(
            _("Version %(number)s was saved while you were editing. Reload the page to see it.")
            % {"number": persona.version}
        )
    before = _snapshot(persona)
    _set(persona, fields)
    if "tools" in fields:
        replace_tools(user, persona, fields["tools"])
    return _save_change(persona, user, before, "persona.changed")


@transaction.atomic
def restore_persona(*, user: User, persona_id: UUID, number: int) -> Persona:
    """Save the fields of an earlier version as the next version.

    A deleted connection and deleted tools are not restored. Raises Forbidden if the version lets
    the persona use a tool without asking, as `replace_tools` does.
    """
    persona = lock_persona(user, persona_id, EDIT)
    earlier = persona.versions.filter(number=number).first()
    if earlier is None:
        raise NotFound
    fields = {name: value for name, value in earlier.fields.items() if name in VERSIONED}
    if not persona.team.connections.filter(pk=fields["connection"]).exists():
        # The connection has been deleted: keep the present connection and its model.
        del fields["connection"], fields["model"]
    before = _snapshot(persona)
    tools = fields.pop("tools", None)
    _set(persona, cast("PersonaFields", fields))
    if tools is not None:  # versions from before there were tools leave them as they are
        replace_tools(user, persona, restorable(persona, tools))
    return _save_change(persona, user, before, "persona.restored")


@transaction.atomic
def set_persona_enabled(*, user: User, persona_id: UUID, enabled: bool) -> Persona:
    """Switch a persona on or off. While it is off, it stays in its rooms and does not answer."""
    persona = lock_persona(user, persona_id, CHANGE)
    if persona.enabled != enabled:
        persona.enabled = enabled
        persona.save(update_fields=["enabled"])
        for hooks in agent_hooks:
            hooks.persona_changed(persona)
        after = {"enabled": enabled}
        audit(user, "persona.switched", persona.pk, team_id=persona.team_id, after=after)
    return persona


@transaction.atomic
def delete_persona(*, user: User, persona_id: UUID) -> None:
    """Delete a persona and its versions. Its messages stay in the rooms, under its name."""
    persona = lock_persona(user, persona_id, CHANGE)
    for hooks in agent_hooks:
        hooks.persona_deleted(persona)
    persona.delete()
    release_handle(persona.team_id, persona_id)
    before = {"handle": persona.handle}
    audit(user, "persona.deleted", persona_id, team_id=persona.team_id, before=before)


@transaction.atomic
@audit_last()
def create_demo_persona(*, user: User, team_id: UUID) -> Persona:
    """Add a persona that answers without a provider, with a text that explains the demo."""
    team = lock_team(user, team_id, MANAGE)
    existing = team.connections.filter(kind=ConnectionKind.DEMO).first()
    connection = existing or Connection.objects.create(
        team=team, name=_("Demo"), kind=ConnectionKind.DEMO, model_names=[DEMO_MODEL]
    )
    name = _("Garam")
    persona = create_persona(
        user=user,
        team_id=team_id,
        name=name,
        handle=free_handle(team, handle_for(name)),
        role=_("Guide"),
        goal=_("Show how a persona answers in a room."),
        connection=connection.pk,
        model=DEMO_MODEL,
    )
    if existing is None:
        after = {"name": connection.name, "models": connection.model_names}
        audit(user, "connection.created", connection.pk, team_id=team.pk, after=after)
    return persona


def build_spec(
    persona: Persona, *, asker: UUID | None = None, has_tools: bool = True
) -> PersonaSpec:
    """Return the persona for the engine. Raises AnswerFailed if the key is unreadable.

    `asker` signs in at the servers of tools where each person does. Without `has_tools`, the caller
    knows that the persona has none: their query is saved.
    """
    connection = persona.connection
    try:
        key = decrypt(connection.key_encrypted) if connection.key_encrypted else ""
    except KeyUnreadable:
        raise AnswerFailed("not_allowed", "key_unreadable") from None
    return PersonaSpec(
        team_id=persona.team_id,
        connection_id=connection.pk,
        kind=cast("Literal['openai', 'demo']", connection.kind),
        model=persona.model,
        name=persona.name,
        handle=persona.handle,
        role=persona.role,
        goal=persona.goal,
        backstory=persona.backstory,
        instructions=persona.instructions,
        base_url=connection.base_url,
        key=key,
        temperature=persona.temperature,
        max_output_tokens=persona.max_output_tokens,
        connect_url=_connect_url(persona) if connection.kind == ConnectionKind.DEMO else "",
        tools=specs_for(persona, asker) if has_tools else (),
    )


def _connect_url(persona: Persona) -> str:
    """Return the public URL of the steps that give a demo persona a model."""
    path = reverse("agents:connect_model", args=[persona.team_id, persona.pk])
    return settings.PUBLIC_URL.rstrip("/") + path


def _set(persona: Persona, fields: PersonaFields) -> None:
    if "name" in fields:
        persona.name = clean_name(fields["name"])
    if fields.get("handle"):
        persona.handle = clean_handle(fields["handle"])
        if not persona.handle:
            reject("handle", _("A handle can have letters, digits, - and _."))
    if "role" in fields:
        persona.role = clean_line(fields["role"])
    if "connection" in fields:
        persona.connection = _connection(persona.team, fields["connection"])
    values: dict[str, Any] = dict(fields)  # Any: the values of a TypedDict have no common type
    for name in values.keys() & TEXTS:
        setattr(persona, name, clean_text(values[name]))
    for name in values.keys() & NUMBERS:
        setattr(persona, name, values[name])


def _connection(team: Team, connection_id: UUID) -> Connection:
    """Return a connection of the team. Raises NotFound for a connection of another team."""
    connection = team.connections.filter(pk=connection_id).first()
    if connection is None:
        raise NotFound
    return connection


def _save(persona: Persona, update_fields: list[str] | None = None) -> None:
    if persona.temperature is not None and not isfinite(persona.temperature):
        reject("temperature", _("Enter a number between 0 and 2."))
    if persona.connection_id is None:
        reject("connection", _("Choose a connection."))
    validate_row(persona)
    if update_fields is None or "handle" in update_fields:
        take_handle(persona.team_id, persona.pk, persona.handle)
    with unique_or_conflict("handle", TAKEN):
        persona.save(update_fields=update_fields)


def _save_change(persona: Persona, user: User, before: dict[str, object], action: str) -> Persona:
    after = _snapshot(persona)
    changed = [name for name in VERSIONED if before[name] != after[name]]
    if not changed:
        return persona
    if not MODEL_FIELDS.isdisjoint(changed):
        access_persona(user, persona.pk, CHANGE)  # another model may be more expensive
    persona.version += 1
    _save(persona, update_fields=[*(name for name in changed if name != "tools"), "version"])
    _keep_version(persona, user, changed=changed)
    for hooks in agent_hooks:
        hooks.persona_changed(persona)
    # Record only the names of the fields: more users may read the audit log than the texts.
    facts: dict[str, object] = {"version": persona.version, "fields": changed}
    if "tools" in changed:
        facts["tools"] = _audit_facts(after)
    audit(user, action, persona.pk, team_id=persona.team_id, after=facts)
    return persona


def _keep_version(persona: Persona, user: User, *, changed: list[str]) -> None:
    PersonaVersion.objects.create(
        persona=persona,
        number=persona.version,
        fields=_snapshot(persona),
        changed=changed,
        created_by=user,
    )


def _snapshot(persona: Persona) -> dict[str, object]:
    """Return the fields of a version, as JSON values."""
    values: dict[str, object] = {name: getattr(persona, name) for name in (*TEXTS, *NUMBERS)}
    return values | {
        "name": persona.name,
        "handle": persona.handle,
        "role": persona.role,
        "connection": str(persona.connection_id),
        "tools": [each.as_json() for each in list_tools(persona)],
    }


def _audit_facts(fields: dict[str, Any]) -> dict[str, str]:
    """Return the policy of each tool in the fields of a version, for the audit log."""
    return {each["tool"]: each["policy"] for each in fields["tools"]}


def free_handle(team: Team, wanted: str) -> str:
    """Return the wanted handle, with the first free number appended if it is taken."""
    taken = taken_handles(team)
    if handle_key(wanted) not in taken:
        return wanted
    numbers = range(2, len(taken) + 3)
    number = next(n for n in numbers if handle_key(f"{wanted[:35]}-{n}") not in taken)
    return f"{wanted[:35]}-{number}"
