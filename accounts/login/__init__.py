"""Sign-in, sign-up and two-step sign-in: the integration with allauth."""
