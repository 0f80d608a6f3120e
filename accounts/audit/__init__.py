"""The audit log of a team and its export."""
