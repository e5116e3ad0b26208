"""One setting as the sources know it, and the list of all of them, made from the structs."""

from collections.abc import Mapping
from typing import Annotated, Any, get_args

import msgspec
from msgspec import Meta, Struct

from nuska.domain.limits import Limits
from nuska.settings.limits import LIMIT_RANGES, TOP_LEVEL_LIMITS
from nuska.settings.top import TABLES, Settings

PREFIX = "NUSKA_"
CONFIG_VARIABLE = "NUSKA_CONFIG"
"""Names the TOML file; not a setting itself."""
CLIENT_VARIABLES = frozenset(
    {"NUSKA_URL", "NUSKA_PROJECT", "NUSKA_CLIENT_ID", "NUSKA_TOKEN", "NUSKA_TIMEOUT"}
)
"""Read by the commands that talk to a server; meaningless to the server itself."""


class Field(Struct, frozen=True):
    """One setting as the sources know it. Names are unique across tables."""

    table: str
    """"" for the top of the file, else one of ``TABLES``."""
    name: str
    type: Any
    default: object
    meaning: str

    @property
    def key(self) -> str:
        return f"{self.table}.{self.name}" if self.table else self.name

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper()

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")


def _fields() -> dict[str, Field]:
    found = []
    described: dict[str, type[Struct]] = {"": Settings, **TABLES}
    del described["limits"]
    for table, struct in described.items():
        for info in msgspec.structs.fields(struct):
            if info.name not in TABLES:
                meaning = next(
                    note.description
                    for note in get_args(info.type)
                    if isinstance(note, Meta) and note.description
                )
                found.append(Field(table, info.name, info.type, info.default, meaning))
    for info in msgspec.structs.fields(Limits):
        least, meaning = LIMIT_RANGES[info.name]
        table = "" if info.name in TOP_LEVEL_LIMITS else "limits"
        kind = Annotated[int, Meta(ge=least)] if info.type is int else info.type
        found.append(Field(table, info.name, kind, info.default, meaning))
    return {field.name: field for field in found}


FIELDS = _fields()


def values_of(struct: type[Struct], merged: Mapping[str, object]) -> dict[str, Any]:
    """Those of the values that are fields of the struct."""
    names = {info.name for info in msgspec.structs.fields(struct)}
    return {name: value for name, value in merged.items() if name in names}
