"""Training it: one run, a sweep of many, their progress and their cost."""
