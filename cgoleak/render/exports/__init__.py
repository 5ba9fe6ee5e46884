"""Profiles and metrics, for the tools of others."""
