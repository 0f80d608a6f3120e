"""The handles of a team: those of its members and of its personas are unique together.

A mention must name one member or one persona. The unique constraint of `TeamHandle` decides between
transactions that take the same handle at once.
"""

from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts.errors import Conflict
from accounts.hooks import account_hooks
from accounts.models import Team, TeamHandle, TeamMember, User
from accounts.names import handle_key
from accounts.services.users import handle_candidates

TAKEN = _("A person or another persona of this team has this handle. Choose another one.")


def take_handle(
    team_id: UUID, holder_id: UUID, handle: str, sentence: str | Promise = TAKEN
) -> None:
    """Store the handle of a member or a persona of the team, instead of its former handle.

    Raises Conflict with `sentence` if another member or persona has it. Runs in the transaction
    of the caller, who has checked the permission.
    """
    try:
        with transaction.atomic():
            TeamHandle.objects.update_or_create(
                team_id=team_id, holder=holder_id, defaults={"handle": handle_key(handle)}
            )
    except IntegrityError:
        raise Conflict(sentence, fields={"handle": sentence}) from None


def release_handle(team_id: UUID, holder_id: UUID) -> None:
    """Free the handle of a member or a persona that leaves the team."""
    TeamHandle.objects.filter(team=team_id, holder=holder_id).delete()


def taken_handles(team: Team) -> set[str]:
    """Return the keys (`handle_key`) of all handles of a team."""
    return set(TeamHandle.objects.filter(team=team).values_list("handle", flat=True))


def take_handle_of_new_member(team: Team, user: User) -> None:
    """Store the handle of a user who joins a team.

    A user who is in no team yet gets another handle if it is taken. The handle of a user who is in
    other teams does not change if a persona has it, because members know it: this raises Conflict.
    If a member has a handle with the same key (`straße` and `strasse`), the user gets another
    handle in all teams, because users cannot choose handles.
    """
    sentence = _(
        "This team has a persona with your handle, @%(handle)s. Ask an admin of the team to give "
        "the persona another handle. Then accept the invitation again."
    ) % {"handle": user.handle}
    try:
        take_handle(team.pk, user.pk, user.handle, sentence)
    except Conflict:
        others = TeamMember.objects.filter(user=user).exclude(team=team)
        team_ids = [team.pk, *others.values_list("team_id", flat=True)]
        same = TeamHandle.objects.filter(team=team, handle=handle_key(user.handle))
        if len(team_ids) > 1 and not team.members.filter(user__in=same.values("holder")).exists():
            raise
        rows = TeamHandle.objects.filter(team__in=team_ids)
        taken = set(rows.values_list("handle", flat=True))
        for handle in handle_candidates(user.name):
            if handle_key(handle) not in taken and _change_handle(user, handle):
                for team_id in team_ids:
                    take_handle(team_id, user.pk, handle, sentence)
                # In a transaction of its own, which locks the rooms of the user by id.
                transaction.on_commit(lambda: _publish(user), robust=True)
                return
        raise


def _publish(user: User) -> None:
    for hooks in account_hooks:
        hooks.profile_changed(user)


def _change_handle(user: User, handle: str) -> bool:
    """Change the handle of a user; return False if another user has it."""
    user.handle = handle
    try:
        with transaction.atomic():
            user.save(update_fields=["handle"])
    except IntegrityError:
        return False
    return True
