"""Go's runtime from outside: where it keeps its numbers, and what they mean, release by release."""
