"""Domains: the list, adding and removing, the records to publish."""
