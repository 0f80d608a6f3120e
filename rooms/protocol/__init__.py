"""The wire format: commands, events, serializers and schemas."""
