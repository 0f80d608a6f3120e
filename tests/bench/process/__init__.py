"""Start-up time, event loop lag and memory of one process."""
