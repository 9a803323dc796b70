"""The installation itself, for those who run it."""
