"""ELF files: what is mapped where, sections, symbols, relocations, notes."""
