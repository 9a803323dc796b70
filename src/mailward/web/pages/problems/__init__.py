"""Open problems."""
