"""Who may use, edit, manage and share a persona: granted to people, to roles, to the whole team."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext as _

from accounts.audit.log import audit
from accounts.errors import Forbidden, Invalid, NotFound
from accounts.models import TeamMember, TeamRole, User
from accounts.revocation import Ending
from accounts.roles import PERSONA_RIGHTS, get_permissions
from agents.hooks import persona_rights_taken
from agents.models import Persona, PersonaGrant
from agents.permissions import SHARE, lock_persona, rights_in

MOST_GRANTS: Final = 200
EVERYTHING: Final = frozenset(PERSONA_RIGHTS)

Holder = tuple[UUID | None, str]


@dataclass(frozen=True, slots=True)
class Grant:
    """Rights of one person, of one role, or, where neither is named, of the whole team."""

    rights: frozenset[str]
    user: UUID | None = None
    role: str = ""

    @property
    def holder(self) -> Holder:
        return self.user, self.role


# Without these, a persona could be left with nobody who may change that.
KEPT: Final = (
    Grant(EVERYTHING, role=TeamRole.OWNER),
    Grant(EVERYTHING, role=TeamRole.ADMIN),
)
USUAL: Final = (Grant(frozenset({"use"})), *KEPT)


def grants_of(persona: Persona) -> list[Grant]:
    """Return the grants of a persona, the caller having asked its gate."""
    held = _held(persona)
    return [Grant(frozenset(held[holder]), *holder) for holder in sorted(held, key=str)]


@transaction.atomic
def put_grants(*, user: User, persona_id: UUID, grants: Iterable[Grant]) -> list[Grant]:
    """Set who may do what with a persona. Owners and admins keep all rights.

    Nobody gives or takes a right that they do not have. Raises NotFound for people of other teams.
    """
    persona = lock_persona(user, persona_id, SHARE)
    wanted = _with_what_they_hold([*grants, *KEPT])
    _check_holders(persona, wanted)
    held = _held(persona)
    changed = {
        right
        for holder in held.keys() | wanted.keys()
        for right in held.get(holder, set()) ^ wanted.get(holder, set())
    }
    if not changed <= rights_in(user, persona):
        raise Forbidden(
            _("Nobody gives or takes a right that they do not have."), team_id=persona.team_id
        )
    PersonaGrant.objects.filter(content_object=persona).delete()
    write_grants(persona, wanted)
    if any(rights - wanted.get(holder, set()) for holder, rights in held.items()):
        persona_rights_taken(persona)
    team_id, before, after = persona.team_id, _facts(held), _facts(wanted)
    audit(user, "persona.granted", persona.pk, team_id=team_id, before=before, after=after)
    return grants_of(persona)


def write_grants(persona: Persona, wanted: Mapping[Holder, Iterable[str]]) -> None:
    """Write the rows, within the caller's transaction and after its checks."""
    permissions = {p.codename: p for p in get_permissions(Persona, EVERYTHING)}
    PersonaGrant.objects.bulk_create(
        PersonaGrant(content_object=persona, user_id=user, role=role, permission=permissions[right])
        for (user, role), rights in wanted.items()
        for right in rights
    )


def grant_as_usual(persona: Persona) -> None:
    """The team may use a new persona, and admins may do everything."""
    write_grants(persona, _with_what_they_hold(USUAL))


def access_ended(ending: Ending) -> None:
    """Whoever leaves a team does not find their old rights again when they come back."""
    if ending.team_id is not None:
        PersonaGrant.objects.filter(
            user=ending.user_id, content_object__team=ending.team_id
        ).delete()


def _facts(held: Mapping[Holder, Iterable[str]]) -> dict[str, object]:
    """What the audit tells of grants: by whom, what."""
    return {str(user or role or "team"): sorted(rights) for (user, role), rights in held.items()}


def _held(persona: Persona) -> dict[Holder, set[str]]:
    held: dict[Holder, set[str]] = {}
    for row in persona.grants.select_related("permission"):
        held.setdefault((row.user_id, row.role), set()).add(row.permission.codename)
    return held


def _with_what_they_hold(grants: Iterable[Grant]) -> dict[Holder, set[str]]:
    """Each right holds lesser ones: whoever edits may use."""
    wanted: dict[Holder, set[str]] = {}
    for grant in grants:
        if not grant.rights <= EVERYTHING:
            raise Invalid(fields={"rights": _("Choose of use, edit, manage and share.")})
        rights = wanted.setdefault(grant.holder, set())
        rights.update(*(PERSONA_RIGHTS[right] for right in grant.rights))
    return wanted


def _check_holders(persona: Persona, wanted: Mapping[Holder, object]) -> None:
    if len(wanted) > MOST_GRANTS:
        raise Invalid(fields={"grants": _("Grant to at most 200 people. Use a role.")})
    if any(role and (user or role not in TeamRole.values) for user, role in wanted):
        raise Invalid(fields={"role": _("Choose one of the roles.")})
    people = {user for user, _role in wanted if user is not None}
    members = TeamMember.objects.filter(team=persona.team_id, user__in=people)
    if members.count() != len(people):
        raise NotFound
