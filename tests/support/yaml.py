"""YAML files for tests."""

from pathlib import Path
from typing import Any

import yaml


class _Dumper(yaml.SafeDumper):
    """A dumper that quotes all text but plain words.

    PyYAML leaves text such as `1e5` without quotes, because YAML 1.1 takes it for text. YAML 1.2,
    which we and DVC read, takes it for a number.
    """

    def represent_str(self, data: str) -> yaml.ScalarNode:
        style = None if data.isidentifier() else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Dumper.add_representer(str, _Dumper.represent_str)


def write_yaml(path: Path, value: Any) -> None:
    """Write a value as YAML."""
    text = yaml.dump(value, Dumper=_Dumper, allow_unicode=True, sort_keys=False)
    path.write_text(text, encoding="utf-8")
