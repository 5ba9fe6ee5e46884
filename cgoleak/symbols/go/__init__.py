"""What the Go linker wrote: build information, and the pc/line table."""
