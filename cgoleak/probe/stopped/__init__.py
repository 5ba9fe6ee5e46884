"""The target while it stands still: ptrace(2) for one thread or all, and changes of its code."""
