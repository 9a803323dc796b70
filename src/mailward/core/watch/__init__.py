"""Checks over time: what is kept of one, whether two say the same, and which findings people hear of.

    kept = keeping.pack_facts(facts)         # bytes; sessions with MX hosts apart, many domains share them
    same = sameness.digest(report)           # equal where nothing changed that a person would call a change
    changes.describe(before, after)          # what changed, in a few words each
    standing.advance(state, ...)             # a finding opens once it was seen twice, and ends the same way

The threat: servers that flap, answer differently each time or not at all would fill tables and mailboxes. Deliberately
not here: when to look, and the tables (store.services.watching).
"""
