"""Tests of the wire contract against a running server, through its public interfaces."""
