"""What Nuska costs on a shared store: beside the embedded one, and beside the store alone."""
