"""Differences of rows: gains, probabilities of improvement, critical differences. One kind of figure a file."""
