"""Creates the personas of a YAML text."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast
from uuid import UUID

from django.db import transaction
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from accounts.audit.log import audit_last
from accounts.errors import Conflict, Invalid, NotFound
from accounts.models import Team, User
from accounts.permissions import access_team, lock_team
from agents.models import Connection, ConnectionKind, Persona
from agents.permissions import MANAGE
from agents.services.persona_yaml import Draft, read_personas
from agents.services.personas import MAX_PERSONAS, PersonaFields, create_persona, free_handle
from agents.services.validation import reject

NUMBERS: Final[Mapping[str, Callable[[str], float]]] = {
    "temperature": float,
    "max_output_tokens": int,
}
MAX_DIGITS: Final = 20


@dataclass(frozen=True, slots=True)
class Imported:
    """The personas that an import has created, in the order of its tasks, or else of its text.

    `in_turn` is True if tasks give the order. `ignored` are the fields of each entry that a persona
    does not have.
    """

    personas: list[Persona]
    in_turn: bool
    ignored: dict[str, list[str]]


def import_personas(
    *,
    user: User,
    team_id: UUID,
    agents: str,
    tasks: str = "",
    connection: UUID | None = None,
    model: str = "",
) -> Imported:
    """Create the personas of a text of `persona_yaml`: all of them, or none.

    They get `connection`, or the first of the team with models, which is a demo only if there is no
    other one; and the model that their entry names, if the connection has it, else `model`, or else
    the first model of the connection. Raises TooLarge, NotFound for a foreign connection, Conflict
    for too many personas, or Invalid, which names the entries and the fields that are wrong.
    """
    access_team(user, team_id, MANAGE)  # before work on the text
    drafts, in_turn = read_personas(agents, tasks)
    return _create(user, team_id, drafts, in_turn=in_turn, connection=connection, model=model)


@transaction.atomic
@audit_last()
def _create(
    user: User,
    team_id: UUID,
    drafts: list[Draft],
    *,
    in_turn: bool,
    connection: UUID | None,
    model: str,
) -> Imported:
    team = lock_team(user, team_id, MANAGE)
    if team.personas.count() + len(drafts) > MAX_PERSONAS:
        raise Conflict(_("A team can have 200 personas. Delete some before you import others."))
    chosen = _connection(team, connection)
    mistakes: dict[str, str | Promise] = {}
    personas: list[Persona] = []
    for draft in drafts:
        try:
            fields = _fields(team, chosen, draft, model)
            personas.append(create_persona(user=user, team_id=team_id, **fields))
        except (Invalid, Conflict) as error:
            wrong = error.fields or {"": error.detail}
            mistakes |= {f"{draft.entry}.{name}".rstrip("."): wrong[name] for name in wrong}
    if mistakes:
        raise Invalid(next(iter(mistakes.values())), fields=mistakes)
    ignored = {draft.entry: draft.ignored for draft in drafts if draft.ignored}
    return Imported(personas, in_turn, ignored)


def _connection(team: Team, connection_id: UUID | None) -> Connection:
    connections = list(team.connections.order_by("created_at", "pk"))
    if connection_id is not None:
        connections = [each for each in connections if each.pk == connection_id]
        if not connections:
            raise NotFound
    if not connections:
        sentence = _("This team has no connection yet. Add one first.")
        raise Invalid(sentence, fields={"connection": sentence})
    return min(connections, key=lambda c: (not c.model_names, c.kind == ConnectionKind.DEMO))


def _fields(team: Team, connection: Connection, draft: Draft, model: str) -> PersonaFields:
    """Return the arguments of `create_persona`. Raises Invalid for a text that is no number."""
    fields: dict[str, Any] = {name: value for name, value in draft.fields.items() if value}
    for name, number in NUMBERS.items():
        if name in fields:
            fields[name] = _number(name, fields[name], number)
    if draft.handle:
        fields["handle"] = free_handle(team, draft.handle)
    known: list[str] = connection.model_names
    wanted = (draft.model, draft.model.partition("/")[2])  # CrewAI writes PROVIDER/MODEL
    named = next((name for name in wanted if name in known), "")
    fields |= {"connection": connection.pk, "model": named or model or next(iter(known), "")}
    return cast("PersonaFields", {"name": "", "role": "", "goal": ""} | fields)


def _number(name: str, text: str, number: Callable[[str], float]) -> float:
    try:
        return number(text[:MAX_DIGITS])
    except ValueError:
        return reject(name, _("Expected a number."))
