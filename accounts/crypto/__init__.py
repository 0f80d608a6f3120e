"""Hashes of secrets, and keys derived from the secret key."""
