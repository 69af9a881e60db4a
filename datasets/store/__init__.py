"""Prepared slices on the disk, and the split of subjects into training, validation and test."""
