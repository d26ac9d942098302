"""YAML, read by PyYAML with the scalars of YAML 1.2.

DVC reads params.yaml by YAML 1.2 and decides what is stale. PyYAML alone reads YAML 1.1, where
3e-4 is text, `on` is true and 012 is ten. A test compares this reader with DVC's.
"""

import re
from pathlib import Path
from typing import Any

import yaml
from yaml.reader import ReaderError

from nanopoet.common.errors import FileError, NanopoetError
from nanopoet.common.files import check_merged

_TAG = "tag:yaml.org,2002:"

# The core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema) as ruamel.yaml has it,
# with which DVC reads: `_` between digits and 0b1 are numbers, .5e3 without a sign is text.
_SCALARS = {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"(?!_)[-+]?(0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|[0-9_]+)",
    "float": r"[-+]?[0-9][0-9_]*(\.[0-9_]*([eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)"
    r"|[-+]?\.([0-9_]+([eE][-+][0-9]+)?|inf|Inf|INF)|\.(nan|NaN|NAN)",
    "timestamp": r"\d{4}-\d\d-\d\d|\d{4}-\d\d?-\d\d?([Tt]|[ \t]+)\d\d?:\d\d:\d\d(\.\d*)?"
    r"([ \t]*(Z|[-+]\d\d?(:\d\d)?))?",
    "merge": "<<",
}


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file that is a mapping of names to values.

    Raises:
        FileError: the file is missing or not UTF-8.
        NanopoetError: the file is not YAML, or no mapping.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        problem = f"no such file; run from the repository root or `git checkout {path}`"
        raise FileError(path, problem) from None
    except UnicodeDecodeError as error:
        raise FileError(path, f"byte {error.start} is not UTF-8; save the file as UTF-8") from None
    value = parse_yaml(text, path)
    if not isinstance(value, dict):
        raise NanopoetError(
            f"{path}:1: not valid YAML: expected a mapping of names to values; fix it"
        )
    return value


def parse_yaml(text: str, name: str | Path) -> Any:
    r"""Parse YAML; `name` says in errors where the text comes from.

    Raises:
        NanopoetError: the text is not YAML or not merged, or a key stands twice in a mapping.

    >>> parse_yaml("lr: 3e-4\nnames: [on, 012]", "params.yaml")
    {'lr': 0.0003, 'names': ['on', 12]}
    """
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problem = f"the character U+{ord(text[error.position]):04X} is not allowed"
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, problem = mark.line + 1 if mark else 1, error.problem or "unreadable"
    except RecursionError:
        line, problem = 1, "the nesting is too deep"
    check_merged(name, text)
    raise NanopoetError(f"{name}:{line}: not valid YAML: {problem}; fix it")


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with other scalars, in which a key stands once."""

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        """Return the tag of a node that has none of its own; text in quotes stays text."""
        if kind is not yaml.ScalarNode:
            return _TAG + ("seq" if kind is yaml.SequenceNode else "map")
        patterns = _SCALARS if implicit[0] else {}
        names = (name for name in patterns if re.fullmatch(patterns[name], value, re.ASCII))
        return _TAG + next(names, "str")

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge what `<<` names, after a check for keys that stand twice."""
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                value = key.value if key.tag.endswith("merge") else self.construct_object(key)
                if (key.tag, value) in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f'found duplicate key "{key.value:.80}"',
                        problem_mark=key.start_mark,
                    )
                seen.add((key.tag, value))
        super().flatten_mapping(node)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Keep the line of a value that is not what its tag or its look promises, such as 0b_."""
        try:
            return super().construct_object(node, deep=deep)
        except (AttributeError, LookupError, TypeError, ValueError):
            raise yaml.MarkedYAMLError(
                problem=f"{str(node.value)[:80]!r} is no {node.tag.removeprefix(_TAG)}",
                problem_mark=node.start_mark,
            ) from None

    def construct_int(self, node: yaml.ScalarNode) -> int:
        """Read 012 as twelve and 0o12 as ten."""
        text = self.construct_scalar(node).replace("_", "")
        return int(text, 0 if re.match("[-+]?0[box]", text) else 10)


_Loader.add_constructor(f"{_TAG}int", _Loader.construct_int)
