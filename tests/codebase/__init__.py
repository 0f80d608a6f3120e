"""Tests of the repository itself: layout, imports, templates and translations."""
