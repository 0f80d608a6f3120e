"""Browser tests: a real server, a real Chromium, and people who use both."""
