"""The process from outside: what ``/proc`` and its ELF files say, without touching it."""
