"""The HTML page of a data set and its findings."""
