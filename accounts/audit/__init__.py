"""The audit log of teams and of the installation."""
