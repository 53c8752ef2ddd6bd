"""Boxes proposed for labelling, by zero-shot models or by a trained detector."""
