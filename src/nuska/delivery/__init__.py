"""Tells subscribers of what is posted: whom, when, how often, and over which way.

How it works, and why so: docs/adr/0013-cursors-in-the-announcement-log.md.
"""
