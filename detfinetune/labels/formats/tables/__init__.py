"""Tables: CSV, OpenImages, VIA's CSV."""
