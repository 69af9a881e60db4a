"""Statistics of tables: functions from scores to numbers, which refuse what the scores cannot carry.

The unit is the subject, a seed shifts all subjects together, and only blocks that are independent (scenarios x data sets,
never the sites of one federation) are ranked. Higher is better throughout: metrics of which less is better are negated.
"""
