"""One figure a file; what they share is in style.py and plotted_row.py."""
