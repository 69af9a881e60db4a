"""A run whose sites are in hospitals: each party is a process of its own, and a framework carries their messages."""
