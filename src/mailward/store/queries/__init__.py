"""Reads: from tables into frozen rows, for the process or page that shows or serves them."""
