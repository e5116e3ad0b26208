"""What can be plugged in: one protocol per kind, with its promises written down."""
