"""The shape of an ASGI application, as loosely as callers need it."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

AsgiApp: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]
"""``app(scope, receive, send)``."""
