"""Pages and periodic work of a large team."""
