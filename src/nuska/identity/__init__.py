"""Ways to establish who is calling."""
