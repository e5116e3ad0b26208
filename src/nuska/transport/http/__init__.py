"""HTTP v2: the route table, the order of checks, one file of handlers per noun."""
