"""What people do with accounts, teams and credentials: each function one transaction."""

from accounts.services.invitations import (
    accept_invitation,
    accept_invitation_by_digest,
    invitation_by_digest,
    invite,
    link_of,
    look_up_invitation,
    revoke_invitation,
)
from accounts.services.people import (
    address_changed,
    change_password,
    create_user,
    suspend_user,
    update_profile,
)
from accounts.services.sessions import users_of_sessions
from accounts.services.setup import (
    check_setup_link,
    is_set_up,
    make_setup_link,
    use_setup_link,
)
from accounts.services.teams import (
    create_team,
    delete_team,
    hand_over_team,
    purge_teams,
    remove_team_member,
    rename_team,
    require_mfa,
    restore_team,
    restore_team_member,
    set_team_role,
    suspend_team_member,
)
from accounts.services.tokens import (
    TokenBearer,
    make_token,
    revoke_token,
    user_for_token,
    users_for_tokens,
)

__all__ = [
    "TokenBearer",
    "accept_invitation",
    "accept_invitation_by_digest",
    "address_changed",
    "change_password",
    "check_setup_link",
    "create_team",
    "create_user",
    "delete_team",
    "hand_over_team",
    "invitation_by_digest",
    "invite",
    "is_set_up",
    "link_of",
    "look_up_invitation",
    "make_setup_link",
    "make_token",
    "purge_teams",
    "remove_team_member",
    "rename_team",
    "require_mfa",
    "restore_team",
    "restore_team_member",
    "revoke_invitation",
    "revoke_token",
    "set_team_role",
    "suspend_team_member",
    "suspend_user",
    "update_profile",
    "use_setup_link",
    "user_for_token",
    "users_for_tokens",
    "users_of_sessions",
]
