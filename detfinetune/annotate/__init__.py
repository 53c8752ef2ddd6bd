"""Labelling in the browser: a store of labels beside the images, and a server for its page."""
