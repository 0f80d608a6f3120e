"""Signing in and signing up, through django-allauth."""
