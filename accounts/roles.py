"""Roles become permissions here: the one table, and the only module that knows guardian.

A role is a name for a set of permissions. Whoever sets a role calls `set_permissions` in the same
transaction, so that the rows a gate reads are never older than the role that they come from.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from django.conf import settings
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.db import models
from guardian.models import BaseObjectPermission, UserObjectPermissionBase
from guardian.utils import get_user_obj_perms_model

TEAM_ROLES: Final[Mapping[str, frozenset[str]]] = {
    "owner": frozenset(
        {"view", "join_room", "create_room", "manage_people", "manage_agents", "manage"}
    ),
    "admin": frozenset({"view", "join_room", "create_room", "manage_people", "manage_agents"}),
    "member": frozenset({"view", "join_room", "create_room"}),
    "guest": frozenset({"view"}),
}
ROOM_ROLES: Final[Mapping[str, frozenset[str]]] = {
    "owner": frozenset({"view", "post", "moderate", "manage"}),
    "moderator": frozenset({"view", "post", "moderate"}),
    "member": frozenset({"view", "post"}),
    "reader": frozenset({"view"}),
}


# Each right to a persona, with the lesser ones that it holds.
PERSONA_RIGHTS: Final[Mapping[str, frozenset[str]]] = {
    "use": frozenset({"use"}),
    "edit": frozenset({"use", "edit"}),
    "manage": frozenset({"use", "edit", "manage"}),
    "share": frozenset({"use", "share"}),
}


class ObjectPermission(UserObjectPermissionBase):
    """One permission of one user on one object; subclasses name the object in `content_object`.

    The object is a foreign key of its own, so a deleted object or user takes its permissions along.
    """

    class Meta(UserObjectPermissionBase.Meta):
        abstract = True


class ObjectGrant(BaseObjectPermission):
    """One permission on one object, of a person, of a role in the object's team, or of all there.

    Subclasses name the object in `content_object`, a foreign key of its own.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE)
    role = models.CharField(max_length=8, blank=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.permission_id} of {self.user_id or self.role or 'all'}"


def set_permissions(
    users: Iterable[models.Model], thing: models.Model, names: frozenset[str]
) -> None:
    """Give each of `users` exactly the permissions `names` on `thing`; an empty set takes all."""
    model: Any = get_user_obj_perms_model(thing)
    users = list(users)
    rows = model.objects.filter(user__in=users, content_object=thing)
    rows.exclude(permission__codename__in=names).delete()
    permissions = get_permissions(type(thing), names)
    model.objects.bulk_create(
        [
            model(user=user, content_object=thing, permission=permission)
            for user in users
            for permission in permissions
        ],
        ignore_conflicts=True,
    )


def get_permissions(model: type[models.Model], names: frozenset[str]) -> list[Permission]:
    """Return the permissions of a model by their names; LookupError for one it does not have."""
    if not names:
        return []
    content_type = ContentType.objects.get_for_model(model)
    found = list(Permission.objects.filter(content_type=content_type, codename__in=names))
    missing = names - {permission.codename for permission in found}
    if missing:
        raise LookupError(f"{model.__name__} has no permissions {sorted(missing)}")
    return found
