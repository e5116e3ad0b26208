"""One file per way to reach a subscriber; what is common to them is in ``interfaces``."""
