"""Kinds of numbers that settings have, wherever they stand."""

from typing import Annotated, TypeAlias

from msgspec import Meta

MIB = 1_048_576

Seconds: TypeAlias = Annotated[float, Meta(gt=0, le=86_400)]
"""Of a wait."""
Count: TypeAlias = Annotated[int, Meta(ge=1)]
"""Of what there may be at most."""
