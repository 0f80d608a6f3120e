"""Tests of what runs Maru in production: images, services, units, the proxy, the runbook."""
