"""How close a synthesised slice is to the real one: one metric a file, found by `registry.METRICS`.

Importing a metric loads no torch, so that tables, which only ask how it is shown, are read without it.
"""
