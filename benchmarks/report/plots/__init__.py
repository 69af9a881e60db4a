"""What figures share; the kinds of figures lie in folders, one a file."""
