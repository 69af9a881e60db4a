"""Rows and columns of a table, the statistics of its rows, and what must be read with them."""
