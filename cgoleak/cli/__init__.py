"""The command line: parse, call the pipeline, render, exit status. One module a command."""
