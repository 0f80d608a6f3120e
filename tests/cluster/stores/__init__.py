"""PostgreSQL and Redis in use, restarted, frozen and emptied."""
