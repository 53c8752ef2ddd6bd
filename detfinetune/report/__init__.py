"""One self-contained HTML page that shows a data set and what was found in it."""
