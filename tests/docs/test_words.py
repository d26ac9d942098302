"""Docstrings and pages keep to the words of the field.

A docstring begins with what a thing does or is. Private words that a reader would have to learn
stand nowhere.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = ("nanopoet", "stages", "tools", "bench", "tests")
DOCS = ("README.md", "README.zh.md", "CONTRIBUTING.md", "SECURITY.md", "docs/*.md")
OPENINGS = re.compile(r"(?:What|Where|Of|Whose|Whether)\b")
PRIVATE = {
    r"by the code as it is": "at commit abc1234, or current code",
    r"find(?:s|ing)? out about rhyme|found out about rhyme": "learns to rhyme",
    r"couriers?": "uploader",
    r"lone (?:row|query|queries|rows)": "single-token decoding",
    r"twins?": "duplicate or near-duplicate",
    r"hesitat(?:ion|es|e|ing)": "perplexity",
    r"ways? (?:back|forward)": "backward or forward pass",
    r"quick(?:er|est)": "faster, fastest",
    r"seed recipe|the seed's": "notebook, which is no random seed",
    r"mend(?:s|ed|ing)?": "fix, repair",
}
"""Private word → what to write instead."""


def code() -> list[Path]:
    """Return the files whose docstrings and words are checked."""
    paths = [path for folder in CODE for path in sorted((ROOT / folder).rglob("*.py"))]
    paths.remove(Path(__file__))  # it spells out what is forbidden
    assert len(paths) > 80, "the tests of words look at too few files"
    return paths


def texts() -> list[Path]:
    """Return the code, its templates and the pages."""
    pages = [path for pattern in DOCS for path in sorted(ROOT.glob(pattern))]
    assert len(pages) > 12, "the tests of words look at too few pages"
    return [*code(), *sorted((ROOT / "nanopoet/templates").glob("*")), *pages]


def _docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and text of each docstring, those of constants and attributes included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            text = node.value.value
            if isinstance(text, str):
                yield node.lineno, text.strip()


def odd_openings(source: str) -> list[tuple[int, str]]:
    """Return line and first words of each docstring that begins with a word of `OPENINGS`."""
    return [
        (line, text.splitlines()[0])
        for line, text in _docstrings(ast.parse(source))
        if OPENINGS.match(text)
    ]


def private_words(text: str) -> list[tuple[int, str]]:
    """Return line and word of each private word."""
    found = []
    for pattern, instead in PRIVATE.items():
        # A sentence may be wrapped inside of a word of several words.
        spaced = pattern.replace(" ", r"[\s#]+")
        for match in re.finditer(rf"\b(?:{spaced})\b", text, re.IGNORECASE):
            line = text.count("\n", 0, match.start()) + 1
            found.append((line, f"{' '.join(match.group().split())!r}; write {instead}"))
    return sorted(found)


def test_docstrings_begin_with_a_verb_or_a_noun() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in code()
        for line, text in odd_openings(path.read_text(encoding="utf-8"))
    ]
    assert not found, f"{len(found)} docstrings:\n" + "\n".join(found)


def test_no_private_word_stands_anywhere() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {word}"
        for path in texts()
        for line, word in private_words(path.read_text(encoding="utf-8"))
    ]
    assert not found, f"{len(found)} words:\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ('"""What there is to tell."""\n', 1),
        ('def f() -> None:\n    """Whether it is so."""\n', 2),
        ('class A:\n    """A thing."""\n\n    b: int\n    """Of what c has to be."""\n', 5),
        ('X = 1\n"""\n    Where it lies.\n"""\n', 2),
    ],
)
def test_an_odd_docstring_is_found(source: str, line: int) -> None:
    assert [found for found, _ in odd_openings(source)] == [line]


def test_a_plain_docstring_is_no_odd_one() -> None:
    assert not odd_openings('"""Offsets of poems."""\nX = "What"\n"""Whatever is left."""\n')


@pytest.mark.parametrize(
    "text",
    [
        "measured by the code as it is",
        "measured by the code\n    # as it is",
        "seeds that found out about rhyme",
        "the courier",
        "a lone\nquery",
        "an exact twin",
        "Twins",
        "hesitation",
        "on the way back",
        "quicker",
        "run mend",
        "the seed's rule",
    ],
)
def test_a_private_word_is_found(text: str) -> None:
    assert len(private_words(f"before\n{text}")) == 1
    assert private_words(f"before\n{text}")[0][0] == 2


def test_other_words_are_not_private() -> None:
    assert not private_words(
        "recommended, commendable, between, always back up, a quick start, a seed"
    )
