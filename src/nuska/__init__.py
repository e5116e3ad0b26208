"""Nuska: a durable message queue that speaks Zaqar's v2 API.

Importing this package does nothing; ``nuska.assembly`` puts a service together.
"""

__version__ = "0.1.0.dev0"
"""The same as in ``pyproject.toml``; asking the installed package costs a start 40 ms."""
