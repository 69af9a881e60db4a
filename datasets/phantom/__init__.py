"""Simulated multi-site brain MRI: anatomy, tissues, pulse sequences and the faults of four scanners."""

from .dataset import Phantom

__all__ = ["Phantom"]
