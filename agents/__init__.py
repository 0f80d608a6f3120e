"""Who answers, and how; knows teams, knows nothing of rooms or sockets."""
