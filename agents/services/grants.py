"""Services for the grants of a persona: the rights to use, edit, manage and share it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext as _

from accounts.audit.log import audit
from accounts.errors import Forbidden, Invalid, NotFound
from accounts.hooks import AccessRevoked, AccountHooks
from accounts.models import TeamMember, TeamRole, User
from accounts.roles import PERSONA_RIGHTS, get_permissions
from agents.hooks import agent_hooks
from agents.models import McpSignIn, Persona, PersonaGrant
from agents.permissions import SHARE, lock_persona, rights_in

MAX_GRANTS: Final = 200
ALL_RIGHTS: Final = frozenset(PERSONA_RIGHTS)

Grantee = tuple[UUID | None, str]


@dataclass(frozen=True, slots=True)
class Grant:
    """Rights of one user, of one role, or of the whole team if neither is named."""

    rights: frozenset[str]
    user: UUID | None = None
    role: str = ""

    @property
    def grantee(self) -> Grantee:
        return self.user, self.role


# Always granted, so that every persona keeps a user who may share it.
REQUIRED_GRANTS: Final = (
    Grant(ALL_RIGHTS, role=TeamRole.OWNER),
    Grant(ALL_RIGHTS, role=TeamRole.ADMIN),
)
DEFAULT_GRANTS: Final = (Grant(frozenset({"use"})), *REQUIRED_GRANTS)


def list_grants(persona: Persona) -> list[Grant]:
    """Return the grants of a persona. The caller must check the access."""
    held = _read_grants(persona)
    return [Grant(frozenset(held[grantee]), *grantee) for grantee in sorted(held, key=str)]


@transaction.atomic
def put_grants(*, user: User, persona_id: UUID, grants: Iterable[Grant]) -> list[Grant]:
    """Replace the grants of a persona. Owners and admins keep all rights.

    Raise Forbidden if a grant changes a right that `user` does not have, and NotFound if a grantee
    is not a member of the team.
    """
    persona = lock_persona(user, persona_id, SHARE)
    wanted = _expand_rights([*grants, *REQUIRED_GRANTS])
    _check_grantees(persona, wanted)
    held = _read_grants(persona)
    changed = {
        right
        for grantee in held.keys() | wanted.keys()
        for right in held.get(grantee, set()) ^ wanted.get(grantee, set())
    }
    if not changed <= rights_in(user, persona):
        raise Forbidden(
            _("You cannot give or remove a permission that you do not have."),
            team_id=persona.team_id,
        )
    PersonaGrant.objects.filter(content_object=persona).delete()
    insert_grants(persona, wanted)
    if any(rights - wanted.get(grantee, set()) for grantee, rights in held.items()):
        for hooks in agent_hooks:
            hooks.persona_rights_revoked(persona)
    team_id, before, after = persona.team_id, _audit_facts(held), _audit_facts(wanted)
    audit(user, "persona.granted", persona.pk, team_id=team_id, before=before, after=after)
    return list_grants(persona)


def insert_grants(persona: Persona, wanted: Mapping[Grantee, Iterable[str]]) -> None:
    """Insert the rows. The caller must check the access and open a transaction."""
    permissions = {p.codename: p for p in get_permissions(Persona, ALL_RIGHTS)}
    PersonaGrant.objects.bulk_create(
        PersonaGrant(content_object=persona, user_id=user, role=role, permission=permissions[right])
        for (user, role), rights in wanted.items()
        for right in rights
    )


def grant_defaults(persona: Persona) -> None:
    """Grant `use` to the whole team, and all rights to owners and admins."""
    insert_grants(persona, _expand_rights(DEFAULT_GRANTS))


class GrantHooks(AccountHooks):
    """The hooks of agents for users, teams and credentials."""

    def access_revoked(self, event: AccessRevoked) -> None:
        """Delete the grants and sign-ins of a user who leaves a team; rejoining restores none."""
        if event.team_id is not None:
            PersonaGrant.objects.filter(
                user=event.user_id, content_object__team=event.team_id
            ).delete()
            McpSignIn.objects.filter(user=event.user_id, server__team=event.team_id).delete()


def _audit_facts(held: Mapping[Grantee, Iterable[str]]) -> dict[str, object]:
    """Return the rights of each grantee, for the audit log."""
    return {str(user or role or "team"): sorted(rights) for (user, role), rights in held.items()}


def _read_grants(persona: Persona) -> dict[Grantee, set[str]]:
    held: dict[Grantee, set[str]] = {}
    for row in persona.grants.select_related("permission"):
        held.setdefault((row.user_id, row.role), set()).add(row.permission.codename)
    return held


def _expand_rights(grants: Iterable[Grant]) -> dict[Grantee, set[str]]:
    """Return the rights of each grantee, with all included rights (`edit` includes `use`)."""
    wanted: dict[Grantee, set[str]] = {}
    for grant in grants:
        if not grant.rights <= ALL_RIGHTS:
            raise Invalid(fields={"rights": _("Choose from use, edit, manage and share.")})
        rights = wanted.setdefault(grant.grantee, set())
        rights.update(*(PERSONA_RIGHTS[right] for right in grant.rights))
    return wanted


def _check_grantees(persona: Persona, wanted: Mapping[Grantee, object]) -> None:
    if len(wanted) > MAX_GRANTS:
        raise Invalid(
            fields={
                "grants": _(
                    "You can give permissions to at most 200 people. For more, choose a role."
                )
            }
        )
    if any(role and (user or role not in TeamRole.values) for user, role in wanted):
        raise Invalid(fields={"role": _("Choose one of the roles.")})
    people = {user for user, _role in wanted if user is not None}
    members = TeamMember.objects.filter(team=persona.team_id, user__in=people)
    if members.count() != len(people):
        raise NotFound
