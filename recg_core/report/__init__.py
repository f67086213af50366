"""The report: tables, drawings and text from an analysis, as Markdown, CSV, LaTeX and HTML."""
