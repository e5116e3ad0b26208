"""What a large installation takes, reckoned from what one operation was measured to cost."""
