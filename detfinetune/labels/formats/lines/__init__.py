"""Formats with one object a line: txt, YOLO, DOTA."""
