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
    teams = _lock_teams_of(person)
    person.is_active = False
    person.save(update_fields=["is_active"])
    pass_on_ownerless_teams(teams)
    for hooks in account_hooks:
        hooks.account_suspended(person)
    access_revoked(AccessRevoked(user_id=person.pk))
    audit(user, "user.suspended", person.pk)


@transaction.atomic
@audit_last()
def restore_user(*, person: User, user: User | None = None) -> None:
    """Reactivate an account, with the access that its memberships give. `user` is as above."""
    _lock_teams_of(person)
    person.is_active = True
    person.save(update_fields=["is_active"])
    for hooks in account_hooks:
        hooks.account_restored(person)
    audit(user, "user.restored", person.pk)


def _lock_teams_of(user: User) -> list[Team]:
    """Lock all teams of a user, ordered by id, so that two transactions cannot deadlock."""
    return list(Team.objects.locked().filter(members__user=user).order_by("pk"))
