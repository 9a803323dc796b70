"""Many domains at once: profiles, their changes in waves, imports."""
