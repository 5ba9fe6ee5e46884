"""JSON by the contract, and back: ``cgoleak.report/1`` and ``cgoleak.diff/1``."""
