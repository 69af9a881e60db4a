"""Tables as they are shown: on the terminal, in Markdown, CSV, LaTeX and HTML."""
