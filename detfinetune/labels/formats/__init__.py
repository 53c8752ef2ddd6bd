"""Label formats: pure functions of text."""
