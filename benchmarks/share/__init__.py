"""Records that are sent to others, come from others, or are published."""
