"""Checks of the splits."""
