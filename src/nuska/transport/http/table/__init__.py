"""The rows of the route table, a file for each noun; ``routes.py`` puts them together."""
