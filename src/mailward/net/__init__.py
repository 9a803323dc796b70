"""Thin shells over the core: sockets, DNS, HTTPS, mail, the clock. Every limit is a named constant."""
