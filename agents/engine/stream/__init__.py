"""Reads the response of a provider: bytes → events → normalised parts of one answer.

These modules know neither the OpenAI SDK nor CrewAI, except `sdk_events`.
"""
