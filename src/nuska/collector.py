"""The cyclic garbage collector, kept from looking where no cycles are.

A request leaves none, or next to none, yet each few hundred new objects make the collector
look at all the requests in flight, which was a twentieth of a post. And JSON has none: a
quarter of a megabyte of empty arrays, decoded under its eyes, took five times as long.
"""

import gc
from collections.abc import Callable
from typing import TypeVar

Out = TypeVar("Out")

LARGE = 16_384
"""Bytes of a document from which on it is worth the while."""

YOUNG = 10_000
"""Objects more than at the last look at which the collector looks again."""


def settle() -> None:
    """Once a server stands: what it is made of is never looked at again, what comes and goes
    more rarely. To be called once in a process."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG)


def unwatched(work: Callable[[bytes], Out], data: bytes) -> Out:
    """``work(data)``, during which nothing is collected if ``data`` is large."""
    if len(data) < LARGE or not gc.isenabled():
        return work(data)
    gc.disable()
    try:
        return work(data)
    finally:
        gc.enable()
