"""Scores: by round, bytes, site, subject and number of training subjects. One kind of figure a file."""
