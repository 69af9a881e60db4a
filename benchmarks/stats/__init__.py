"""Statistics of tables: functions from scores to numbers. They refuse what the scores do not support.

The unit is the subject, and a seed shifts all subjects together. Only independent blocks (scenarios x data sets, never the
sites of one federation) are ranked. Higher is better throughout: metrics of which less is better are negated.
"""
