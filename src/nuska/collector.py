"""Large documents, kept from the sight of the cyclic garbage collector while they are decoded.

JSON has no cycles, yet each few hundred new arrays make the collector look at everything
that is alive. A quarter of a megabyte of empty arrays, decoded, took five times as long.
"""

import gc
from collections.abc import Callable
from typing import TypeVar

Out = TypeVar("Out")

LARGE = 16_384
"""Bytes of a document from which on it is worth the while."""


def unwatched(work: Callable[[bytes], Out], data: bytes) -> Out:
    """``work(data)``, during which nothing is collected if ``data`` is large."""
    if len(data) < LARGE or not gc.isenabled():
        return work(data)
    gc.disable()
    try:
        return work(data)
    finally:
        gc.enable()
