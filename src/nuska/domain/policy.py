"""Rules about who may do what, in the part of oslo.policy's language that operators use.

``role:``, ``rule:``, ``project_id:``, ``is_admin:``, ``and``, ``or``, ``not``, parentheses, ``@``
(everybody) and ``!`` (nobody). Anything else is an error, and so is a rule that is named and not
there: a policy with a slip of the pen must not start, since what it lets through is not what
somebody meant.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from msgspec import Struct

CONTEXT_IS_ADMIN = "context_is_admin"
"""The rule by which ``is_admin:True`` is decided."""
OWN_PROJECT = "%(project_id)s"
"""In ``project_id:``: the project that the call is about, which always is the caller's own."""
_TOKEN = re.compile(r"[()]|[^\s()]*%\([^\s()]*\)[^\s()]*|[^\s()]+")
MAX_DEPTH = 64
"""Of parentheses and negations within one rule."""
MAX_TOKENS = 200
"""Words and parentheses of one rule."""


class PolicyError(ValueError):
    """Rules that cannot be used; one line per problem."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class Holder(Struct, frozen=True, gc=False):
    """Of whom a rule is asked."""

    roles: frozenset[str]
    project: str


class Always(Struct, frozen=True):
    pass


class Never(Struct, frozen=True):
    pass


class Role(Struct, frozen=True):
    name: str


class Project(Struct, frozen=True):
    id: str


class Named(Struct, frozen=True):
    rule: str


class Not(Struct, frozen=True):
    inner: "Expression"


class Both(Struct, frozen=True):
    left: "Expression"
    right: "Expression"


class Either(Struct, frozen=True):
    left: "Expression"
    right: "Expression"


Expression: TypeAlias = Always | Never | Role | Project | Named | Not | Both | Either


class Rules:
    """Every rule by its name, all of them whole."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        """Raises ``PolicyError`` with everything that is wrong."""
        problems: list[str] = []
        self._rules: dict[str, Expression] = {}
        for name, text in texts.items():
            try:
                self._rules[name] = parse(text)
            except ValueError as error:
                problems.append(f"{name}: {error}")
        problems += self._missing()
        problems += [] if problems else self._circles()
        if problems:
            raise PolicyError(problems)

    def permits(self, name: str, holder: Holder) -> bool:
        return self._holds(self._rules[name], holder)

    def permits_nobody(self, name: str) -> bool:
        """Whether the rule says so, whoever asks."""
        return self._is_never(self._rules[name])

    def mentions_projects(self) -> bool:
        """Whether the same roles may do different things in different projects."""
        return any(
            isinstance(part, Project) and part.id != OWN_PROJECT
            for rule in self._rules.values()
            for part in _parts(rule)
        )

    def used(self, name: str) -> set[str]:
        """The rules that a rule names."""
        return {part.rule for part in _parts(self._rules[name]) if isinstance(part, Named)}

    def _holds(self, rule: Expression, holder: Holder) -> bool:
        match rule:
            case Always():
                return True
            case Never():
                return False
            case Role(name):
                return name in holder.roles
            case Project(id_):
                return id_ in (OWN_PROJECT, holder.project)
            case Named(name):
                return self._holds(self._rules[name], holder)
            case Not(inner):
                return not self._holds(inner, holder)
            case Both(left, right):
                return self._holds(left, holder) and self._holds(right, holder)
            case Either(left, right):
                return self._holds(left, holder) or self._holds(right, holder)

    def _is_never(self, rule: Expression) -> bool:
        match rule:
            case Never():
                return True
            case Named(name):
                return self._is_never(self._rules[name])
            case Not(inner):
                return self._is_always(inner)
            case Both(left, right):
                return self._is_never(left) or self._is_never(right)
            case Either(left, right):
                return self._is_never(left) and self._is_never(right)
            case _:
                return False

    def _is_always(self, rule: Expression) -> bool:
        match rule:
            case Always() | Project("%(project_id)s"):
                return True
            case Named(name):
                return self._is_always(self._rules[name])
            case Not(inner):
                return self._is_never(inner)
            case Both(left, right):
                return self._is_always(left) and self._is_always(right)
            case Either(left, right):
                return self._is_always(left) or self._is_always(right)
            case _:
                return False

    def _missing(self) -> list[str]:
        return [
            f"{name}: there is no rule {other}"
            for name in self._rules
            for other in sorted(self.used(name) - self._rules.keys())
        ]

    def _circles(self) -> list[str]:
        return [f"{name}: leads back to itself" for name in self._rules if self._returns(name)]

    def _returns(self, name: str) -> bool:
        seen: set[str] = set()
        to_visit = self.used(name)
        while to_visit:
            if name in to_visit:
                return True
            seen |= to_visit
            to_visit = set().union(*map(self.used, to_visit)) - seen
        return False


def parse(text: str) -> Expression:
    """The rule that ``text`` is; nothing at all lets everybody. Raises ``ValueError``."""
    tokens = _TOKEN.findall(text)
    if not tokens:
        return Always()
    if len(tokens) > MAX_TOKENS:
        raise ValueError(f"this has more than {MAX_TOKENS} words; name parts of it")
    parser = _Parser(tokens)
    rule = parser.either(0)
    if parser.next is not None:
        raise ValueError(f"{parser.next!r} is not expected here")
    return rule


class _Parser:
    """``not`` binds more than ``and``, and that more than ``or``."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._at = 0

    @property
    def next(self) -> str | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def either(self, depth: int) -> Expression:
        return self._joined("or", self._both, Either, depth)

    def _both(self, depth: int) -> Expression:
        return self._joined("and", self._single, Both, depth)

    def _joined(
        self,
        word: str,
        part: Callable[[int], Expression],
        join: Callable[[Expression, Expression], Expression],
        depth: int,
    ) -> Expression:
        rule = part(depth)
        while self.next is not None and self.next.lower() == word:
            self._at += 1
            rule = join(rule, part(depth))
        return rule

    def _single(self, depth: int) -> Expression:
        if depth > MAX_DEPTH:
            raise ValueError("this is nested too deeply")
        word = self.next
        if word is None:
            raise ValueError("something is missing at the end")
        self._at += 1
        if word.lower() == "not":
            return Not(self._single(depth + 1))
        if word == "(":
            rule = self.either(depth + 1)
            if self.next != ")":
                raise ValueError("a parenthesis is not closed")
            self._at += 1
            return rule
        return _check(word)


def _check(word: str) -> Expression:
    if word == "@":
        return Always()
    if word == "!":
        return Never()
    kind, colon, match = word.partition(":")
    if colon and match:
        if kind == "role" and "%" not in match:
            return Role(match.lower())
        if kind == "rule":
            return Named(match)
        if kind == "project_id" and (match == OWN_PROJECT or "%" not in match):
            return Project(match)
        if kind == "is_admin" and match in ("True", "1"):
            return Named(CONTEXT_IS_ADMIN)
        if kind == "is_admin" and match in ("False", "0"):
            return Not(Named(CONTEXT_IS_ADMIN))
    raise ValueError(
        f"{word!r} is not known; there are role:, rule:, project_id:, is_admin:, @, !, and, or, "
        "not and parentheses"
    )


def _parts(rule: Expression) -> Iterator[Expression]:
    yield rule
    match rule:
        case Not(inner):
            yield from _parts(inner)
        case Both(left, right) | Either(left, right):
            yield from _parts(left)
            yield from _parts(right)
