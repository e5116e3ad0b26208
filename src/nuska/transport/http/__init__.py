"""The HTTP transport: a route table, a fixed order of checks, a file of handlers per noun."""

from nuska.transport.http.app import build_app

__all__ = ["build_app"]
