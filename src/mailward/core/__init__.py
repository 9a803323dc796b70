"""The protocols, without I/O: bytes and facts in, frozen values out.

Nothing here opens a socket, reads a clock, touches a database or logs; `now` is an argument. Every parser has a
hard size limit and a test with hostile input.
"""
