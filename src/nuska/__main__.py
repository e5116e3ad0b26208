"""``python -m nuska`` is the command ``nuska``."""

from nuska.cli import main

if __name__ == "__main__":
    main()
