"""The permissions that each role grants, and the rows that store permissions.

Only this module imports guardian. A service that sets a role calls `set_permissions` in the same
transaction, so the permission rows always match the role.
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
PERSONA_RIGHTS: Final[Mapping[str, frozenset[str]]] = {
    "use": frozenset({"use"}),
    "edit": frozenset({"use", "edit"}),
    "manage": frozenset({"use", "edit", "manage"}),
    "share": frozenset({"use", "share"}),
}
"""Each right to a persona, with the rights that it includes."""


class ObjectPermission(UserObjectPermissionBase):
    """One permission of one user on one object.

    A subclass defines `content_object` as a foreign key, so that deleting the object or the user
    deletes the permission.
    """

    class Meta(UserObjectPermissionBase.Meta):
        abstract = True


class ObjectGrant(BaseObjectPermission):
    """One permission on one object, granted to a user, to a role or to the whole team.

    With neither `user` nor `role`, every member of the object's team has it. A subclass defines
    `content_object` as a foreign key.
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
    """Grant each of `users` the permissions `names` on `thing`; delete their other permissions."""
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
    """Return the permissions of `model` by name. Raises LookupError for an unknown name."""
    if not names:
        return []
    content_type = ContentType.objects.get_for_model(model)
    found = list(Permission.objects.filter(content_type=content_type, codename__in=names))
    missing = names - {permission.codename for permission in found}
    if missing:
        raise LookupError(f"{model.__name__} has no permissions {sorted(missing)}")
    return found
