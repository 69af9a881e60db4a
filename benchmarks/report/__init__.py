"""The HTML page, and figures for papers."""
