"""Devices, options and checkpoints."""
