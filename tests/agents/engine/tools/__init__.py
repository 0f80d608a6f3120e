"""Tests of answers with tools, through the stub provider."""
