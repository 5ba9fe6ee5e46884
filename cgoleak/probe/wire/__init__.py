"""What both sides see: the layout of shared memory, the compiled probe, its tables and its copy."""
