"""People: signing in, the first administrator, invitations, roles.

allauth checks passwords and keeps sessions; of its pages only those named in `urls` exist.
"""
