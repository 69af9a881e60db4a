"""Volumes made into arrays ahead of a run."""
