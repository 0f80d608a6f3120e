"""The contract of the wire, held against a real server from outside; nothing here imports Maru."""
