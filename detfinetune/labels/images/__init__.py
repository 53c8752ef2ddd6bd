"""Image sizes, read from headers and cached."""
