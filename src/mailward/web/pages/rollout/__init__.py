"""The way to enforce: the evidence for one domain, and where all of them are."""
