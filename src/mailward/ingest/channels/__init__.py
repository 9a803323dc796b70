"""The ways in for reports, one file each: how bytes come, what bounds them, and what is answered."""
