"""The pages of one's own settings, of teams and of invitations."""
