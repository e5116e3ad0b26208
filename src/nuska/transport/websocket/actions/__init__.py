"""What a client may ask for: one row for each action, one small file of handlers per noun."""
