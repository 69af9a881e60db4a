"""Devices, options and checkpoints; the contract of a metric."""
