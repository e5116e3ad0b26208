"""Which messages a subscription wants, by what stands in them.

A filter is a JSON object in ``options.filter``, in the style of the filter policies of Amazon
SNS: ``{"body": {…}, "attributes": {…}}``, either or both. Below them stand keys of the message;
every key must hold (*and*), a list of rules under a key holds when one does (*or*), and
``"$or"`` takes a list of objects of which one must hold. A rule is a plain value, which must
be equal, or an object of one operator:

    {"prefix": "eu-"}  {"suffix": ".png"}  {"equals-ignore-case": "Yes"}
    {"numeric": [">=", 0, "<", 100]}  {"exists": true}
    {"anything-but": "x"}  {"anything-but": ["x", 1]}  {"anything-but": {"prefix": "x"}}

Where the message has an array, one of its elements must fit; only the first ``MAX_ELEMENTS``
that a filter meets in a message are looked at, so that what it costs is bounded by its own
size. A filter is parsed once, into functions.
"""

import operator
from collections.abc import Callable, Iterable

import msgspec
from msgspec import Struct

from nuska.domain.errors import InvalidInput

KEY = "filter"
"""In a subscription's options."""
PARTS = ("body", "attributes")
OR = "$or"

MAX_FILTER = 16_384
"""Bytes of a filter as JSON."""
MAX_DEPTH = 8
"""Nested objects below ``body`` or ``attributes``."""
MAX_RULES = 256
MAX_ELEMENTS = 1000
"""Elements of arrays that one filter looks at in one message."""
MAX_TEXT = 1024
"""Characters of a key, and of a value to compare with."""

Test = Callable[[object], bool]
"""Whether a value that is no array fits."""
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ABSENT = object()
_decode = msgspec.json.Decoder().decode


class Examined:
    """A message's texts, read when a filter first asks, and once for all filters."""

    __slots__ = ("_parts", "_texts")

    def __init__(self, body: bytes, attributes: bytes | None) -> None:
        self._texts = {"body": body, "attributes": attributes}
        self._parts: dict[str, object] = {}

    def part(self, name: str) -> object:
        """What stands under ``body`` or ``attributes``."""
        found = self._parts.get(name, _ABSENT)
        if found is _ABSENT:
            text = self._texts[name]
            found = self._parts[name] = {} if text is None else _decode(text)
        return found


class _Allowance:
    """How many more elements of arrays a filter looks at in the present message."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_ELEMENTS

    def of(self, array: list[object]) -> list[object]:
        """As many of the elements as may be looked at."""
        some = array if len(array) <= self.left else array[: self.left]
        self.left -= len(some)
        return some


class Filter(Struct, frozen=True, eq=False):
    """A filter that was understood."""

    key: bytes
    """Equal for filters that say the same in the same words; the order of keys counts not."""
    tests: tuple[tuple[str, Test], ...]
    allowance: _Allowance

    def matches(self, body: bytes, attributes: bytes | None = None) -> bool:
        """Whether the subscription wants a message with this body (JSON) and these attributes."""
        return self.admits(Examined(body, attributes))

    def admits(self, message: Examined) -> bool:
        """The same for a message that other filters look at, too."""
        self.allowance.left = MAX_ELEMENTS
        return all(test(message.part(part)) for part, test in self.tests)


def parse_filter(source: object) -> Filter | None:
    """The filter that a JSON value says; None for null and ``{}``, which want everything.
    ``InvalidInput``, naming the place, when it is none."""
    if source is None:
        return None
    if not isinstance(source, dict):
        raise InvalidInput("The value of filter must be a JSON object.")
    if not source:
        return None
    for part in source:
        if part not in PARTS:
            raise InvalidInput(f"filter has {_shown(part)}, which is neither body nor attributes.")
    key = msgspec.json.encode(source, order="sorted")
    if len(key) > MAX_FILTER:
        raise InvalidInput(f"The filter is too large: {MAX_FILTER} bytes is the limit.")
    parser = _Parser()
    tests = tuple((part, parser.keys(rules, part, MAX_DEPTH)) for part, rules in source.items())
    return Filter(key, tests, parser.allowance)


class _Parser:
    """Turns one filter into functions, counting its rules."""

    def __init__(self) -> None:
        self._rules = 0
        self.allowance = _Allowance()

    def keys(self, source: object, where: str, depth: int) -> Test:
        """An object of which every key must hold."""
        if not isinstance(source, dict) or not source:
            raise InvalidInput(f"filter: {where} must be an object of at least one key.")
        if depth == 0:
            raise InvalidInput(f"filter: {where} is nested too deeply: {MAX_DEPTH} is the limit.")
        tests = [
            self._key(key, value, f"{where}.{_shown(key)}", depth) for key, value in source.items()
        ]
        return tests[0] if len(tests) == 1 else lambda value: all(test(value) for test in tests)

    def _key(self, key: str, source: object, where: str, depth: int) -> Test:
        _check_text(key, where)
        if key == OR:
            return self._any_of(source, where, depth)
        if isinstance(source, dict):
            return _below(key, self.keys(source, where, depth - 1), self.allowance)
        if not isinstance(source, list) or not source:
            raise InvalidInput(
                f"filter: {where} must be a list of at least one rule, or an object."
            )
        return _at(key, self._rules_of(source, where))

    def _any_of(self, source: object, where: str, depth: int) -> Test:
        if not isinstance(source, list) or not source:
            raise InvalidInput(f"filter: {where} must be a list of at least one object.")
        tests = [
            self.keys(each, f"{where}[{number}]", depth - 1) for number, each in enumerate(source)
        ]
        return lambda value: any(test(value) for test in tests)

    def _rules_of(self, source: list[object], where: str) -> Test:
        """One of the rules must fit the value, which may be absent."""
        self._rules += len(source)
        if self._rules > MAX_RULES:
            raise InvalidInput(f"filter: too many rules: {MAX_RULES} is the limit.")
        equal: list[object] = []
        tests: list[Test] = []
        absent = present = False
        for number, rule in enumerate(source):
            place = f"{where}[{number}]"
            if not isinstance(rule, dict):
                equal.append(_plain(rule, place))
            elif "exists" in rule:
                exists = _exists(rule, place)
                present, absent = present or exists, absent or not exists
            else:
                tests.append(_operator(rule, place))
        if equal:
            tests.append(_one_of(equal))
        return _fitting(tests, self.allowance, present=present, absent=absent)


def _fitting(tests: list[Test], allowance: _Allowance, *, present: bool, absent: bool) -> Test:
    def fits(value: object) -> bool:
        if value is _ABSENT:
            return absent
        if present:
            return True
        if type(value) is list:
            return any(test(element) for element in allowance.of(value) for test in tests)
        return any(test(value) for test in tests)

    return fits


def _at(key: str, test: Test) -> Test:
    return lambda value: test(value.get(key, _ABSENT) if type(value) is dict else _ABSENT)


def _below(key: str, test: Test, allowance: _Allowance) -> Test:
    """``test`` for the object under ``key``, or for one in the array there."""

    def fits(value: object) -> bool:
        inner = value.get(key, _ABSENT) if type(value) is dict else _ABSENT
        if type(inner) is list:
            return any(map(test, allowance.of(inner)))
        return test(inner)

    return fits


def _operator(rule: dict[str, object], where: str) -> Test:
    if len(rule) != 1:
        raise InvalidInput(f"filter: {where} must be a value, or an object of one operator.")
    [(name, value)] = rule.items()
    if name == "numeric":
        return _numeric(value, where)
    if name == "anything-but":
        return _anything_but(value, where)
    if name in _TEXT_RULES:
        text = _check_text(value, f"{where}.{name}")
        make = _TEXT_RULES[name]
        return make(text)
    known = ", ".join([*_TEXT_RULES, "numeric", "anything-but", "exists"])
    raise InvalidInput(f"filter: {where} has the operator {_shown(name)}; there are {known}.")


def _prefix(text: str) -> Test:
    return lambda value: type(value) is str and value.startswith(text)


def _suffix(text: str) -> Test:
    return lambda value: type(value) is str and value.endswith(text)


def _ignoring_case(text: str) -> Test:
    folded = text.casefold()
    return lambda value: type(value) is str and value.casefold() == folded


_TEXT_RULES: dict[str, Callable[[str], Test]] = {
    "prefix": _prefix,
    "suffix": _suffix,
    "equals-ignore-case": _ignoring_case,
}


def _one_of(values: Iterable[object]) -> Test:
    known = frozenset(map(_comparable, values))
    return lambda value: _is_scalar(value) and _comparable(value) in known


def _anything_but(source: object, where: str) -> Test:
    if isinstance(source, dict):
        if len(source) != 1 or not _TEXT_RULES.keys() >= source.keys():
            raise InvalidInput(
                f"filter: {where}.anything-but must be a value, a list of values, "
                f"or an object of one of {', '.join(_TEXT_RULES)}."
            )
        test = _operator(source, where)
    else:
        values = source if isinstance(source, list) else [source]
        if not values:
            raise InvalidInput(f"filter: {where}.anything-but must name at least one value.")
        test = _one_of([_plain(value, f"{where}.anything-but") for value in values])
    return lambda value: not test(value)


def _numeric(source: object, where: str) -> Test:
    """One or two comparisons, each an operator and a number."""
    if not isinstance(source, list) or len(source) not in (2, 4):
        raise InvalidInput(
            f'filter: {where}.numeric must be one or two comparisons, such as [">=", 0, "<", 100].'
        )
    comparisons = []
    for name, number in zip(source[::2], source[1::2], strict=True):
        if not isinstance(name, str) or name not in _COMPARISONS:
            known = " ".join(_COMPARISONS)
            raise InvalidInput(f"filter: {where}.numeric compares by one of {known}.")
        if not _is_number(number):
            raise InvalidInput(f"filter: {where}.numeric compares with numbers only.")
        comparisons.append((_COMPARISONS[name], number))
    return lambda value: (
        _is_number(value)
        and all(
            compare(value, number)  # type: ignore[arg-type]  # a number, as was just seen
            for compare, number in comparisons
        )
    )


def _exists(rule: dict[str, object], where: str) -> bool:
    value = rule["exists"]
    if len(rule) != 1 or not isinstance(value, bool):
        raise InvalidInput(f'filter: {where} must be {{"exists": true}} or {{"exists": false}}.')
    return value


def _plain(value: object, where: str) -> object:
    if not _is_scalar(value):
        raise InvalidInput(f"filter: {where} must be a text, a number, true, false or null.")
    return _check_text(value, where) if isinstance(value, str) else value


def _check_text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise InvalidInput(f"filter: {where} must be a text.")
    if len(value) > MAX_TEXT:
        raise InvalidInput(f"filter: {where[:80]} is too long: {MAX_TEXT} characters is the limit.")
    return value


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, str | int | float)


def _is_number(value: object) -> bool:
    return type(value) is int or type(value) is float


def _comparable(value: object) -> object:
    """Equal for what JSON would call equal: 1 and 1.0, but not 1 and true."""
    return (value,) if isinstance(value, bool) else value


def _shown(name: object) -> str:
    """A name of the caller's, short enough for a sentence."""
    text = str(name)
    return text if len(text) <= 40 else text[:40] + "…"
