"""What the kernel says of a process: small readers of ``/proc`` and of cgroups."""
