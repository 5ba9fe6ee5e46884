"""Machine code: where functions begin and end, whom they call, what they read."""
