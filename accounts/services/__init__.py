"""Services for users, teams, invitations and credentials; each change is one transaction."""

from accounts.services.deactivation import restore_user, suspend_user
from accounts.services.expiry import purge_expired
from accounts.services.invitations import (
    accept_invitation,
    accept_invitation_by_digest,
    get_invitation,
    get_invitation_by_digest,
    invitation_url,
    invite,
    open_invitations,
    revoke_invitation,
)
from accounts.services.sessions import users_for_sessions
from accounts.services.setup import (
    complete_setup,
    create_setup_link,
    get_setup_link,
    is_set_up,
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
    create_token,
    revoke_token,
    user_for_token,
    users_for_tokens,
)
from accounts.services.users import (
    change_password,
    create_user,
    finish_email_change,
    update_profile,
)

__all__ = [
    "accept_invitation",
    "accept_invitation_by_digest",
    "change_password",
    "complete_setup",
    "create_setup_link",
    "create_team",
    "create_token",
    "create_user",
    "delete_team",
    "finish_email_change",
    "get_invitation",
    "get_invitation_by_digest",
    "get_setup_link",
    "hand_over_team",
    "invitation_url",
    "invite",
    "is_set_up",
    "open_invitations",
    "purge_expired",
    "purge_teams",
    "remove_team_member",
    "rename_team",
    "require_mfa",
    "restore_team",
    "restore_team_member",
    "restore_user",
    "revoke_invitation",
    "revoke_token",
    "set_team_role",
    "suspend_team_member",
    "suspend_user",
    "update_profile",
    "user_for_token",
    "users_for_sessions",
    "users_for_tokens",
]
