"""Checks of image files: damage, format, pixels, duplicates."""
