"""The URLs of the user's settings, of teams and of invitations."""

from django.urls import path

from accounts.views import audit, factors, invitations, people, profile, team

app_name = "accounts"
urlpatterns = [
    path("me/", profile.profile, name="profile"),
    path("me/tokens/", profile.tokens, name="tokens"),
    path("me/tokens/<uuid:token_id>/revoke/", profile.revoke, name="token_revoke"),
    path("teams/<uuid:team_id>/", team.general, name="team"),
    path("teams/<uuid:team_id>/two-steps/", team.set_mfa_requirement, name="team_mfa"),
    path("teams/<uuid:team_id>/delete/", team.delete, name="team_delete"),
    path("teams/<uuid:team_id>/deleted/", team.deleted, name="team_deleted"),
    path("teams/<uuid:team_id>/people/", people.people, name="people"),
    path("teams/<uuid:team_id>/people/find/", people.find_people, name="find_people"),
    path("teams/<uuid:team_id>/people/<uuid:user_id>/", people.member, name="member"),
    path("teams/<uuid:team_id>/people/<uuid:user_id>/role/", people.set_role, name="set_role"),
    path("teams/<uuid:team_id>/people/<uuid:user_id>/suspend/", people.suspend, name="suspend"),
    path("teams/<uuid:team_id>/people/<uuid:user_id>/restore/", people.restore, name="restore"),
    path("teams/<uuid:team_id>/people/<uuid:user_id>/owner/", people.hand_over, name="hand_over"),
    path("teams/<uuid:team_id>/people/<uuid:user_id>/remove/", people.remove, name="remove"),
    path(
        "teams/<uuid:team_id>/invitations/<uuid:invitation_id>/revoke/",
        people.revoke,
        name="invitation_revoke",
    ),
    path("teams/<uuid:team_id>/audit/", audit.show_log, name="audit"),
    path("teams/<uuid:team_id>/audit/export/", audit.export_log, name="audit_export"),
    path("invitations/", invitations.invitation, name="invitation"),
    path("invitations/<str:token>/", invitations.open_link, name="invitation_link"),
]

# Included before allauth's URLs, with the same paths and names.
factor_patterns = [
    path("totp/activate/", factors.activate_totp, name="mfa_activate_totp"),
    path("totp/deactivate/", factors.deactivate_totp, name="mfa_deactivate_totp"),
    path("webauthn/add/", factors.add_webauthn, name="mfa_add_webauthn"),
    path("webauthn/keys/<int:pk>/remove/", factors.remove_webauthn, name="mfa_remove_webauthn"),
    path(
        "recovery-codes/generate/",
        factors.generate_recovery_codes,
        name="mfa_generate_recovery_codes",
    ),
]
