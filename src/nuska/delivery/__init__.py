"""Tells subscribers of what is posted: whom, when, how often, and over which way."""
