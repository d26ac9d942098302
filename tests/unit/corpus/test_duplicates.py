import random
from itertools import combinations
from pathlib import Path

import pytest

from nanopoet.common.errors import FileError
from nanopoet.common.files import write_json
from nanopoet.corpus.duplicates import duplicate_groups, duplicates_in
from nanopoet.corpus.poems import Duplicate, Poem, load_duplicates
from tests.support.poems import make_poems

TOWER = "白日依山盡，黃河入海流。欲窮千里目，更上一層樓。"
SPRING = "春眠不覺曉，處處聞啼鳥。夜來風雨聲，花落知多少。"
PALACE = "寥落古行宮，宮花寂寞紅。白頭宮女在，閒坐說玄宗。"
PARTING = "離離原上草，一歲一枯榮。野火燒不盡，春風吹又生。"
PARTING += "遠芳侵古道，晴翠接荒城。又送王孫去，萋萋滿別情。"


def _poems(*contents: str) -> list[Poem]:
    return [Poem(content=content, title="", author="", style="") for content in contents]


def _groups(*contents: str) -> list[int]:
    groups: list[int] = duplicate_groups(_poems(*contents)).tolist()
    return groups


def _duplicate(val: str, train: str) -> str | None:
    [duplicate] = duplicates_in(_poems(val), _poems(train))
    assert duplicates_in(_poems(train), _poems(val)) == [duplicate]
    return duplicate


@pytest.mark.parametrize(
    ("one", "other", "duplicate"),
    [
        (TOWER, TOWER, "exact"),
        (TOWER, TOWER.replace("，", "。"), "exact"),
        (TOWER, TOWER.replace("黃", "黄"), "near"),
        (TOWER, TOWER.replace("盡", "尽").replace("黃", "黄").replace("樓", "楼"), "near"),
        (TOWER, TOWER[12:] + TOWER[:12], None),  # the halves in the other order
        (PARTING, PARTING[:24], "near"),  # the excerpt as a quatrain
        (PARTING, PARTING[:12], None),  # a couplet
        (TOWER, SPRING[:12] + TOWER[12:18] + PALACE[18:], None),  # one line
        (TOWER, SPRING[:12] + TOWER[12:], None),  # two lines
        (TOWER, SPRING[:6] + TOWER[6:], "near"),  # three lines
        (TOWER, SPRING, None),
        (TOWER, TOWER[:6], None),  # a fragment
        ("春", "春", "exact"),
        ("春", "夏", None),
        ("春，", "春。", "exact"),
        ("春夏", "春", None),
        (
            "𠀀𠀁𠀂𠀃𠀄，𠀅𠀆𠀇𠀈𠀉。𠀊𠀋𠀌𠀍𠀎，𠀏𠀐𠀑𠀒𠀓。",
            "𠀀𠀁𠀂𠀃𠀄，𠀅𠀆𠀇𠀈𠀉。𠀊𠀋𠀌𠀍𠀎，𠀏𠀐𠀑𠀒𠮷。",
            "near",
        ),
    ],
)
def test_known_pairs(one: str, other: str, duplicate: str | None) -> None:
    assert _duplicate(one, other) == duplicate
    assert _groups(one, other) == ([0, 0] if duplicate else [0, 1])


@pytest.mark.parametrize(("kept", "duplicate"), [(12, None), (13, "near")])
def test_more_than_three_fifths_of_the_shorter_or_of_twenty(
    kept: int, duplicate: str | None
) -> None:
    text, other = TOWER.replace("，", "").replace("。", ""), "秋蟬鳴樹間玉露凝霜葉飛雁過南樓"
    changed = text[:kept] + other[: 20 - kept]
    assert len(text) == len(changed) == 20
    assert _duplicate(text, changed) == duplicate
    assert _duplicate(text + other, changed[:kept]) == duplicate


def test_characters_beyond_two_bytes_are_told_apart() -> None:
    poem = "".join(map(chr, range(0x4E00, 0x4E00 + 20)))
    assert _duplicate(poem, "".join(chr(ord(character) + 0x20000) for character in poem)) is None


@pytest.mark.parametrize(("first", "duplicate"), [(4, None), (5, "near")])
def test_three_runs_of_three_must_be_the_same(first: int, duplicate: str | None) -> None:
    """Change every third character after the first few, so that only these share runs."""
    poem = "".join(map(chr, range(0x4E00, 0x4E00 + 21)))
    changed = "".join(
        "秋" if i in range(first, 21, 3) else character for i, character in enumerate(poem)
    )
    assert changed.count("秋") == 6
    assert _duplicate(poem, changed) == duplicate


def test_nothing_and_single_poems() -> None:
    assert _groups() == []
    assert _groups(TOWER) == [0]
    assert _groups("春", "，", "。", "春夏") == [0, 1, 1, 3]
    assert duplicates_in([], _poems(TOWER)) == []
    assert duplicates_in(_poems(TOWER, TOWER), []) == [None, None]


def test_duplicates_of_duplicates_are_one_group() -> None:
    first, last = TOWER[:12] + SPRING[12:], SPRING[:12] + TOWER[12:]
    middle = TOWER[:12] + TOWER[12:18] + SPRING[18:]
    assert _groups(first, PALACE, TOWER) == [0, 1, 2]
    assert _groups(first, PALACE, TOWER, middle) == [0, 1, 0, 0]
    assert _groups(last, middle, TOWER) == [0, 1, 1]
    assert duplicates_in(_poems(first, middle), _poems(TOWER)) == ["near", "near"]


def test_many_versions_of_one_poem_are_one_group() -> None:
    """A run links a text to fewer texts than there are versions here."""
    versions = [TOWER.replace("山", chr(0x4E00 + i)) for i in range(100)]
    assert set(_groups(*versions)) == {0}


def test_one_line_in_a_hundred_poems_joins_none() -> None:
    poems = [poem["content"][:18] + TOWER[18:] for poem in make_poems(100)]
    assert _groups(*poems) == list(range(100))


# The definition of near-duplicates without shortcuts.


def _plain_common(a: str, b: str) -> int:
    row = [0] * (len(b) + 1)
    for x in a:
        old, row = row, [0]
        for j, y in enumerate(b):
            row.append(old[j] + 1 if x == y else max(row[-1], old[j + 1]))
    return row[-1]


def _plain_near(a: str, b: str) -> bool:
    runs = [{text[i : i + 3] for i in range(len(text) - 2)} for text in (a, b)]
    share = _plain_common(a, b) / max(20, min(len(a), len(b)))
    return a == b or (share > 0.6 and len(runs[0] & runs[1]) >= 3)


def _plain_groups(texts: list[str]) -> list[int]:
    groups = list(range(len(texts)))
    for i, j in combinations(range(len(texts)), 2):
        if _plain_near(texts[i], texts[j]):
            low, high = sorted((groups[i], groups[j]))
            groups = [low if group == high else group for group in groups]
    return groups


def _versions(seed: int) -> list[str]:
    """Make 60 versions of five poems: cut, joined, changed, with characters beyond U+FFFF."""
    rng = random.Random(seed)  # noqa: S311
    letters = "春夏秋冬山水花月風雨雲天𠀀𠀁𠮷"
    poems = ["".join(rng.choices(letters, k=rng.choice([20, 28, 40]))) for _ in range(5)]
    versions = []
    for _ in range(60):
        text = list(rng.choice(poems)[rng.choice([0, 0, 5, 14]) :])
        for _ in range(rng.choice([0, 1, 3, 6, 9])):
            text[rng.randrange(len(text))] = rng.choice(letters)
        versions.append("".join(text) + rng.choice(["", "", rng.choice(poems)[:7]]))
    return versions


@pytest.mark.parametrize("seed", range(10))
def test_the_groups_follow_from_the_definition(seed: int) -> None:
    texts = _versions(seed)
    groups = _groups(*texts)
    assert groups == _plain_groups(texts)
    assert 1 < len(set(groups)) < len(texts)


def test_the_order_of_the_poems_does_not_matter() -> None:
    """It does not matter either if near-duplicates share a line that many other poems have."""
    line = TOWER[18:]
    one = SPRING[:18] + line
    other = "".join("秋" if i in range(0, 18, 3) else c for i, c in enumerate(SPRING[:18])) + line
    poems = [poem["content"][:18] + line for poem in make_poems(100)]
    near = _groups(one, other, *poems)
    far = _groups(one, *poems, other)
    assert near[0] == far[0] == 0
    assert (near[1] == near[0]) == (far[-1] == far[0])
    texts = _versions(0)
    assert _groups(*texts) != _groups(*texts[::-1])  # positions of the first
    assert _parts(texts) == _parts(texts[::-1])


def _parts(texts: list[str]) -> set[frozenset[str]]:
    groups = list(zip(_groups(*texts), texts, strict=True))
    return {frozenset(text for other, text in groups if other == group) for group, _ in groups}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such file"),
        ('["near"', "damaged"),
        ('{"near": 1}', "not a list of duplicates"),
        ('["close", null]', "not a list of duplicates"),
        ("[null]", "has entries for 1 poems, not 2"),
    ],
)
def test_a_bad_file_of_duplicates_is_named(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "duplicates.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(FileError, match=f"^{path}: {message}"):
        load_duplicates(path, 2)


def test_duplicates_are_read_as_they_were_written(tmp_path: Path) -> None:
    duplicates: list[Duplicate | None] = ["near", None, "exact"]
    write_json(tmp_path / "duplicates.json", duplicates)
    assert load_duplicates(tmp_path / "duplicates.json", 3) == duplicates
