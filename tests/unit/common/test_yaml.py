"""Our reading of YAML and DVC's: the same values, the same refusals."""

import math
from typing import Any

import pytest
from dvc.utils.serialize import loads_yaml
from hypothesis import example, given
from hypothesis import strategies as st

from nanopoet.common.errors import NanopoetError
from nanopoet.common.yaml import parse_yaml
from tests.support.examples import examples
from tests.support.project import ROOT

REFUSED = object()


def read(text: str) -> Any:
    try:
        return parse_yaml(text, "params.yaml")
    except NanopoetError as error:
        name, line, _ = str(error).split(":", 2)
        assert name == "params.yaml"
        assert line.isdigit()
        return REFUSED


def dvc_read(text: str) -> Any:
    try:
        return loads_yaml(text)
    except Exception:  # whatever stops DVC, some of it with a traceback
        return REFUSED


def same(ours: Any, theirs: Any) -> bool:
    """Compare values and types, all the way down."""
    if type(ours) is not type(theirs):
        return False
    if isinstance(ours, dict):
        return same([*ours], [*theirs]) and same([*ours.values()], [*theirs.values()])
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(ours, float) and math.isnan(ours):
        return math.isnan(theirs)
    return bool(ours == theirs)


WORDS = "on yes y no null Null true TRUE False inf .nan 2001-01-01"
plain = st.lists(st.sampled_from([*"0123456789.eE+-_xob~=Tn", *WORDS.split()]), max_size=8).map(
    "".join
)
plain = plain.filter(lambda text: text != "=")  # DVC refuses it
NUMBERS = r"[-+]?(0[box])?[0-9_a-f]{0,4}\.?[0-9_]{0,3}([eE][-+]?[0-9_]{0,3})?"
FORMS = """
1_000 0o17 +0o17 0O17 012 089 +1 1e3 3e-4 1E+5 1.e5 1e400 .5 .5e3 .5e+3 1. 0. -0.0 -0 1__0 _1 +_1
-.inf +.Inf .inf .nan -.nan .NaN 0b1 -0b11 0b2 -0x1F 1:30 2001-01-01 2001-99-99 ~ null NULL nULL
yes on off y n True tRUE '3' "on"
"""


@pytest.mark.parametrize("text", [*FORMS.split(), "", "!!int '3'", "!!str 3", "!foo 3", "9" * 5000])
def test_forms_of_scalars(text: str) -> None:
    assert same(read(f"key: {text}"), dvc_read(f"key: {text}"))


@examples
@given(plain | st.from_regex(NUMBERS, fullmatch=True))
def test_plain_scalars(text: str) -> None:
    assert same(read(f"key: {text}"), dvc_read(f"key: {text}"))
    assert same(read(f"- [{text}, 1]"), dvc_read(f"- [{text}, 1]"))


@pytest.mark.parametrize("name", ["params.yaml", "recipes.yaml", "dvc.yaml"])
def test_our_files(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    values = read(text)
    assert values
    assert same(values, dvc_read(text))


@examples
@given(st.lists(st.sampled_from(["a", "b", "'a'", "1", "'1'", "c d"]), min_size=1, max_size=5))
def test_a_key_stands_once(keys: list[str]) -> None:
    text = "".join(f"{key}: {place}\n" for place, key in enumerate(keys))
    assert same(read(text), dvc_read(text))
    assert (read(text) is REFUSED) == (
        len({key.strip("'") if key != "'1'" else key for key in keys}) < len(keys)
    )


maps = st.dictionaries(st.sampled_from("abc"), st.integers(0, 3), min_size=1).map(
    lambda items: ", ".join(f"{key}: {value}" for key, value in items.items())
)


@examples
@given(maps, maps, maps, st.sampled_from(["*x", "*y", "[*x, *y]", "[*y, *x]"]))
@example("a: 1", "a: 2, b: 2", "b: 3", "[*x, *y]")
def test_anchors_and_merge_keys(x: str, y: str, own: str, merged: str) -> None:
    before = f"x: &x {{{x}}}\ny: &y {{{y}}}\nalias: *x\n"
    for text in (f"z: {{<<: {merged}, {own}}}", f"z: {{{own}, <<: {merged}}}"):
        assert read(before + text) is not REFUSED
        assert read(before + text) == dvc_read(before + text)


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("a: 1\nb: 2\na: 3", 3, 'found duplicate key "a"'),
        ("x: &x {a: 1}\ny:\n  <<: *x\n  a: 2\n  a: 3", 5, 'found duplicate key "a"'),
        ("a: 1\nb: !!python/name:os.system", 2, "could not determine a constructor"),
        ("a: 1\nb: *x", 2, "found undefined alias"),
        ("a: 1\nb: 0b_", 2, "'0b_' is no int"),
        ("a: 1\nb: 2001-99-99", 2, "'2001-99-99' is no timestamp"),
        (f"a: 1\nb: {'9' * 5000}", 2, "9999' is no int"),
        ("a: 1\nb: [1", 2, "expected ',' or ']'"),
        ("a: 1\nb:\n\tc: 2", 3, "cannot start any token"),
        ("a: 1\nb: \x01", 2, "the character U+0001 is not allowed"),
        ("a: 1\n---\nb: 2", 2, "found another document"),
        (f"a: {'[' * 10_000}", 1, "the nesting is too deep"),
    ],
)
def test_mistakes_are_named_with_file_and_line(text: str, line: int, problem: str) -> None:
    with pytest.raises(NanopoetError) as caught:
        parse_yaml(text, "params.yaml")
    message = str(caught.value)
    assert message.startswith(f"params.yaml:{line}: not valid YAML: ")
    assert problem in message
    assert len(message) < 200
