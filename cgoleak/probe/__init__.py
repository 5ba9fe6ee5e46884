"""Drives the probe in the target: the only package that knows Frida, and the only impure half."""
