"""Deactivates and reactivates accounts. Their memberships and roles are kept."""

from django.db import transaction

from accounts.audit.log import audit, audit_last
from accounts.hooks import AccessRevoked, access_revoked, account_hooks
from accounts.models import Team, User
from accounts.services.teams import pass_on_ownerless_teams


@transaction.atomic
@audit_last()
def suspend_user(*, person: User, user: User | None = None) -> None:
    """Deactivate `person`, end their runs and close all their connections; keep the memberships.

    Teams and rooms that lose their last active owner get another one. `user` is the acting user;
    None is the operator.
    """
    _set_active(person, is_active=False)
    for hooks in account_hooks:
        hooks.account_suspended(person)
    access_revoked(AccessRevoked(user_id=person.pk))
    audit(user, "user.suspended", person.pk)


@transaction.atomic
@audit_last()
def restore_user(*, person: User, user: User | None = None) -> None:
    """Reactivate an account, with the access that its memberships give. `user` is as above.

    Teams and open rooms that have no active owner pass to their members who are active now.
    """
    _set_active(person, is_active=True)
    for hooks in account_hooks:
        hooks.account_restored(person)
    audit(user, "user.restored", person.pk)


def _set_active(person: User, *, is_active: bool) -> None:
    """Store `is_active`; lock the user, their teams by id and their memberships, in this order.

    `create_team` locks the user, a change of a team's members locks the team, and a service that
    adds the user to a room locks the membership. Each of them either has committed before the hooks
    read the rooms of the user, or finds the new `is_active`.
    """
    list(User.objects.locked().filter(pk=person.pk).values_list("pk"))
    teams = list(Team.objects.locked().filter(members__user=person).order_by("pk"))
    person.is_active = is_active
    person.save(update_fields=["is_active"])
    pass_on_ownerless_teams(teams, person)
