"""The pages of the user's settings, of team settings and of invitations."""
