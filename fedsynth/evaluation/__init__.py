"""How good what a site serves is: metrics, look-up tables, and what models do at other sites."""
