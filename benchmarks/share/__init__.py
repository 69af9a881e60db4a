"""Records that leave the laboratory or come into it."""
