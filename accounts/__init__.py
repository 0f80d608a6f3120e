"""Users, teams, memberships, credentials, permissions and the audit log."""
