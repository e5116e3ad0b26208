"""What the service does for a caller, one function per API action."""
