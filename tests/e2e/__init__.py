"""Browser tests: Chromium against a running server."""
