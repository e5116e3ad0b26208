"""The three places a setting can come from.

A flag wins over ``NUSKA_*`` in the environment, that over the TOML file, that over the
default. Each source says only what somebody wrote, so a default of one layer never hides
a value of the layer below. Unknown names are errors, all of them reported at once.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from nuska.settings.contradictions import contradictions
from nuska.settings.fields import (
    CLIENT_VARIABLES,
    CONFIG_VARIABLE,
    FIELDS,
    PREFIX,
    Field,
    values_of,
)
from nuska.settings.top import SECRETS, TABLES, Settings

_GOT = re.compile(r", got \w+")
"""What the library says of the type of a wrong value."""


class SettingsError(ValueError):
    """Something an operator wrote cannot be used; one line per problem."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


def load_settings(
    *,
    flags: Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
    file: str | Path | None = None,
) -> Settings:
    """Merge the sources. ``flags`` holds only what was given; ``None`` there means unset.

    ``file`` None means the one that ``NUSKA_CONFIG`` names, if it names one.
    Raises ``SettingsError`` with every problem found.
    """
    environment = environment or {}
    problems: list[str] = []
    path = file or environment.get(CONFIG_VARIABLE)
    merged: dict[str, object] = {}
    for values in (
        _from_file(Path(path), problems) if path else {},
        _from_environment(environment, problems),
        _from_flags(flags or {}, problems),
    ):
        _lay_over(merged, values)
    problems += contradictions(merged)
    if problems:
        raise SettingsError(problems)
    return _assemble(merged)


def default_data_directory(environment: Mapping[str, str]) -> Path:
    """Where data goes when nobody says: the user's own place for it (XDG base directories)."""
    base = environment.get("XDG_DATA_HOME", "")
    root = Path(base) if base.startswith("/") else Path("~/.local/share").expanduser()
    return root / "nuska"


def _from_file(path: Path, problems: list[str]) -> dict[str, object]:
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        problems.append(f"{path}: cannot be read: {reason}")
        return {}
    written: dict[str, object] = {}
    for key, value in document.items():
        if key in TABLES and isinstance(value, dict):
            written |= {f"{key}.{name}": inner for name, inner in value.items()}
        else:
            written[key] = value
    keys = {field.key: field for field in FIELDS.values()}
    values: dict[str, object] = {}
    for key, value in written.items():
        if key not in keys:
            near = _perhaps(key, [*keys, *TABLES])
            problems.append(f"{path}: {key}: no such setting{near}")
        else:
            _convert(keys[key], value, f"{path}: {key}", values, problems, strict=True)
    return values


def _from_environment(environment: Mapping[str, str], problems: list[str]) -> dict[str, object]:
    variables = {field.variable: field for field in FIELDS.values()}
    values: dict[str, object] = {}
    for variable, text in environment.items():
        if not variable.startswith(PREFIX) or variable == CONFIG_VARIABLE:
            continue
        if variable in variables:
            field = variables[variable]
            written: object = text
            if get_origin(_plain(field.type)) is tuple:
                written = [part.strip() for part in text.split(",") if part.strip()]
            _convert(field, written, variable, values, problems, strict=False)
        elif variable not in CLIENT_VARIABLES:
            problems.append(f"{variable}: no such setting{_perhaps(variable, variables)}")
    return values


def _from_flags(flags: Mapping[str, object], problems: list[str]) -> dict[str, object]:
    values: dict[str, object] = {}
    for name, value in flags.items():
        if value is not None:
            field = FIELDS[name]
            _convert(field, value, field.flag, values, problems, strict=False)
    return values


def _convert(
    field: Field,
    value: object,
    where: str,
    values: dict[str, object],
    problems: list[str],
    *,
    strict: bool,
) -> None:
    if field.name == "client_id_uuid_safe" and value in ("strict", "off"):
        value = value == "strict"
    try:
        values[field.name] = msgspec.convert(value, field.type, strict=strict)
    except msgspec.ValidationError as error:
        problems.append(f"{where}: {_what_would_do(field, value, str(error))}")


def _what_would_do(field: Field, value: object, error: str) -> str:
    """The library's sentence with the value in place of its type, which nobody has written."""
    kind = _plain(field.type)
    if field.name == "client_id_uuid_safe":
        known: tuple[str, ...] = ("strict", "off")
    elif get_origin(kind) is Literal:
        known = get_args(kind)
    else:
        shown = "what was written" if field.name in SECRETS else repr(value)
        return f"{_GOT.sub('', error.replace('`', ''))}, not {shown}"
    return f"{value!r} is none of {', '.join(map(repr, known))}"


def _lay_over(merged: dict[str, object], values: dict[str, object]) -> None:
    """Later sources win; ``listen`` and its two halves are one setting by two names."""
    if "listen" in values:
        merged.pop("bind", None)
        merged.pop("port", None)
    merged.update(values)


def _assemble(merged: Mapping[str, object]) -> Settings:
    tables: dict[str, Any] = {
        name: struct(**values_of(struct, merged)) for name, struct in TABLES.items()
    }
    return Settings(**values_of(Settings, merged), **tables)


def _plain(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _perhaps(key: str, known: Iterable[str]) -> str:
    near = get_close_matches(key, list(known), n=1)
    return f"; perhaps {near[0]}" if near else ""
