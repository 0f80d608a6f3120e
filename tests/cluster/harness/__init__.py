"""Clusters of processes, clients that record what they receive, and the oracle that checks both."""

SECRET_KEY = "only-for-tests-0123456789-abcdefghijklmnopqrstuvwxyz"

COUNTED_TOOLS = "MARU_COUNTED_TOOLS"
"""The environment variable of workers with the folder of the counts of `counted_tools`."""
