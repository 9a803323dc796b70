"""What a domain looks like from outside: now, before, and what changed; and any domain that somebody types in."""
