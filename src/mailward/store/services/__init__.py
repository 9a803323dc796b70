"""What writes: one function is one short transaction, and never waits for the network.

A function that serves a person takes their scope; one that serves a process takes ids that the process owns.
"""
