"""Query strings, by the rules of contract README §10.

An empty value is no value; the last of several wins, and of a value with commas the last
piece; lists take commas and repetitions alike. Integers are decimal digits with an optional
sign; booleans are a fixed list of words. What an operation takes is a row of ``Parameter`` in
the route table, and that row is also what the OpenAPI document shows.
"""

from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import cast

from falcon.uri import parse_query_string
from msgspec import Struct

from nuska.core.ranges import check_range
from nuska.domain.errors import InvalidParameter
from nuska.domain.limits import Limits
from nuska.transport.wire.paging import flag

TRUE = frozenset(("true", "True", "t", "yes", "y", "1", "on"))
FALSE = frozenset(("false", "False", "f", "no", "n", "0", "off"))
ENDLESS = 10**20
"""What an integer of more digits than this one means: more than any limit."""
_MAX_DIGITS = 20


class Kind(Enum):
    TEXT = auto()
    INTEGER = auto()
    BOOLEAN = auto()
    LIST = auto()
    JSON = auto()
    """A text whose commas are its own."""


class Parameter(Struct, frozen=True):
    """One query parameter of an operation."""

    name: str
    kind: Kind
    description: str
    lowest: int | None = None
    highest: Callable[[Limits], int] | None = None
    """Of an integer, or of the number of items in a list."""
    pattern: str | None = None
    """What a text looks like; checked where it is used."""


Value = str | int | bool | list[str]


class Asked:
    """The parameters that a request gave, in their types."""

    __slots__ = ("_values", "filters")

    def __init__(self, values: dict[str, Value], filters: dict[str, str]) -> None:
        self._values = values
        self.filters = filters
        """Parameters that the operation does not know; only listings of queues look at them."""

    def text(self, name: str) -> str | None:
        return cast("str | None", self._values.get(name))

    def integer(self, name: str) -> int | None:
        return cast("int | None", self._values.get(name))

    def boolean(self, name: str) -> bool:
        return self._values.get(name) is True

    def items_of(self, name: str) -> list[str]:
        return cast("list[str]", self._values.get(name, []))

    def repeated(self, leave_out: str = "marker") -> dict[str, str]:
        """The parameters as a next link repeats them."""
        return {
            name: flag(value) if isinstance(value, bool) else str(value)
            for name, value in self._values.items()
            if name != leave_out
        }


NOTHING_ASKED = Asked({}, {})


def read_query(
    text: str, parameters: Sequence[Parameter], limits: Limits, *, filters: bool = False
) -> Asked:
    """The parameters in ``text``, of the right type and, where they are numbers, in range.

    A number out of range is refused even where the rest of the request makes it meaningless.
    """
    given = parse_query_string(text, keep_blank=False, csv=True)
    values: dict[str, Value] = {}
    for parameter in parameters:
        value = given.pop(parameter.name, None)
        if value:
            values[parameter.name] = _read(parameter, value, limits)
    return Asked(values, _filters(given) if filters else {})


def _read(parameter: Parameter, value: str | list[str], limits: Limits) -> Value:
    if parameter.kind is Kind.LIST:
        # Many clients write the commas of a list as %2C.
        pieces = [value] if isinstance(value, str) else value
        return [item for piece in pieces for item in piece.split(",") if item]
    if parameter.kind is Kind.JSON:
        return value if isinstance(value, str) else ",".join(value)
    text = value if isinstance(value, str) else value[-1]
    if parameter.kind is Kind.INTEGER:
        number = _integer(parameter.name, text)
        if parameter.lowest is None or parameter.highest is None:
            return number
        return check_range(parameter.name, number, parameter.lowest, parameter.highest(limits))
    if parameter.kind is Kind.BOOLEAN:
        return _boolean(parameter.name, text)
    return text


def _integer(name: str, text: str) -> int:
    digits = text[1:] if text[0] in "+-" else text
    if not (digits.isascii() and digits.isdigit()):
        raise InvalidParameter(f"The value of {name} must be an integer.")
    if len(digits) <= _MAX_DIGITS:
        return int(text)
    return -ENDLESS if text[0] == "-" else ENDLESS


def _boolean(name: str, text: str) -> bool:
    if text in TRUE:
        return True
    if text in FALSE:
        return False
    raise InvalidParameter(f"The value of {name} must be true or false.")


def _filters(given: dict[str, str | list[str]]) -> dict[str, str]:
    filters: dict[str, str] = {}
    for name, value in given.items():
        if not isinstance(value, str) or "," in value:
            raise InvalidParameter(f"The value of {name} must be one value without commas.")
        filters[name] = value
    return filters
