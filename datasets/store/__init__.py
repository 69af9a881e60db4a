"""Prepared slices on the disk, and how subjects are split."""
