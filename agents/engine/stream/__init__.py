"""Reads the response of a provider: bytes → events → normalised parts of one answer.

These modules do not know CrewAI.
"""
