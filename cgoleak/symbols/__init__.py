"""Addresses to names: ELF, Go's pc/line table, DWARF. Files in, frames out; no verdicts here."""
