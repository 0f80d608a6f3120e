"""Events from one process to the clients of another."""
