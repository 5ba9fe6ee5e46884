"""The report as text for people, for a terminal and for a log."""
