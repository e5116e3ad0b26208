"""Loops that nobody calls: expiry sweeps."""
