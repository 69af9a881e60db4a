"""Simulated brain MRI of several hospitals: anatomy, tissues, pulse sequences and the faults of scanners."""

from .dataset import Phantom

__all__ = ["Phantom"]
