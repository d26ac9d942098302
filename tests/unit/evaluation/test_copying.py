import random

import pytest

from nanopoet.evaluation.copying import longest_copies


def _longest(text: str, sources: list[str]) -> int:
    spans = [text[i:j] for i in range(len(text)) for j in range(i + 1, len(text) + 1)]
    return max((len(s) for s in spans if any(s in source for source in sources)), default=0)


@pytest.mark.parametrize("seed", range(20))
def test_it_finds_what_trying_all_passages_finds(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311
    texts = ["".join(rng.choices("春夏秋𠮷", k=rng.randrange(12))) for _ in range(6)]
    sources = ["".join(rng.choices("春夏秋冬", k=rng.randrange(1, 12))) for _ in range(5)]
    assert longest_copies(texts, sources).tolist() == [_longest(t, sources) for t in texts]


def test_a_passage_ends_where_its_poem_ends() -> None:
    assert longest_copies(["春夏秋冬"], ["春夏", "秋冬"]).tolist() == [2]


def test_a_copy_is_as_long_as_itself() -> None:
    poem = "白日依山盡，黃河入海流。"
    assert longest_copies([poem, ""], ["春眠", "遠上" + poem]).tolist() == [len(poem), 0]


def test_nothing_to_copy() -> None:
    assert longest_copies(["春"], []).tolist() == [0]
    assert longest_copies([], ["春"]).tolist() == []
