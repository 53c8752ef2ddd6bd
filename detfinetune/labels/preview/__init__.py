"""Labels as pictures."""
