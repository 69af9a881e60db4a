"""One run: trained, followed, and kept as a record."""
