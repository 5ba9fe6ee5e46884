"""The C library from outside: whose malloc it is, what it holds free, the threads that C made."""
