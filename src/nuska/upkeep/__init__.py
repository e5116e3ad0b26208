"""Loops that nobody calls: what has expired, and what says nothing any more."""
