"""People: signing in, the first administrator, invitations, roles."""
