"""Checks of boxes, polygons and classes."""
