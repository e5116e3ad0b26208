"""The storage promises as executable sentences."""
