"""What an operator's policy file means for who may do what.

The file is YAML, a rule in each line, as oslo.policy has it; nothing else that YAML could be is
taken. Whatever is wrong with it is an error: a server does not start with a policy that says
something else than its operator meant.
"""

from collections.abc import Iterator
from pathlib import Path

import yaml  # type: ignore[import-untyped]

from nuska.core.access import Access
from nuska.domain.policy import PolicyError

MAX_POLICY = 1_048_576
"""Bytes."""


def access_by(policy_file: str) -> Access:
    """The default policy, with the rules of the file in place of those of the same names.

    Raises ``PolicyError`` with every problem found.
    """
    return Access(read_policy(Path(policy_file)) if policy_file else None)


def read_policy(path: Path) -> dict[str, str]:
    """Raises ``PolicyError``."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_POLICY + 1)
        text = content.decode()
    except OSError as error:
        raise PolicyError([f"{path}: cannot be read: {error.strerror or error}"]) from error
    except UnicodeDecodeError as error:
        raise PolicyError([f"{path}: is not text in UTF-8"]) from error
    if len(content) > MAX_POLICY:
        raise PolicyError([f"{path}: is larger than {MAX_POLICY} bytes"])
    return parse_policy(text, str(path))


def parse_policy(text: str, where: str) -> dict[str, str]:
    """The rules in a document. It is taken apart, never built: no types, tags or anchors."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise PolicyError([f"{where}: cannot be read as YAML: {reason}"]) from error
    if root is None:
        return {}
    if not isinstance(root, yaml.MappingNode):
        raise PolicyError([f'{where}: must have lines such as "queues:create": "role:member"'])
    problems: list[str] = []
    rules: dict[str, str] = {}
    for name, rule, line in _lines(root):
        if name is None:
            problems.append(f"{where}, line {line}: the name of a rule must be a text")
        elif rule is None:
            problems.append(f"{where}, line {line}: {name}: the rule must be a text, in quotes")
        elif name in rules:
            problems.append(f"{where}, line {line}: {name}: is there twice")
        else:
            rules[name] = rule
    if problems:
        raise PolicyError(problems)
    return rules


def _lines(root: yaml.MappingNode) -> Iterator[tuple[str | None, str | None, int]]:
    """Name, rule and line of each entry; None for what is no text."""
    for key, value in root.value:
        yield _text(key), _text(value), key.start_mark.line + 1


def _text(node: yaml.Node) -> str | None:
    is_text = isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:str"
    return str(node.value) if is_text else None
