"""The audit log, its locks and its database role on PostgreSQL."""
