"""Tests of deploy/: images, compose file, units, proxy and runbook."""
