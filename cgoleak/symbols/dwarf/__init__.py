"""Debug information: which line an address is, and what was inlined there."""
