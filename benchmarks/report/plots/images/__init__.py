"""Images and their intensities."""
