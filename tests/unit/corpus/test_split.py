import json
from collections.abc import Callable
from pathlib import Path

import pytest

from nanopoet.common.errors import NanopoetError
from nanopoet.corpus.duplicates import duplicates_in
from nanopoet.corpus.poems import Poem, read_poems, write_poems
from nanopoet.corpus.split import split_data
from stages.split import main
from tests.support.poems import make_poems


def with_duplicates(count: int = 200) -> list[Poem]:
    """Make poems of which every eleventh has a duplicate and every seventh a near-duplicate."""
    poems = make_poems(count)
    exact = [Poem(**poem | {"title": "又"}) for poem in poems[::11]]
    near = [Poem(**poem | {"content": "异" + poem["content"][1:]}) for poem in poems[::7]]
    return poems + exact + near


def _notebook_split(poems: list[Poem], val_every: int) -> tuple[list[Poem], list[Poem]]:
    """Divide poems as the teaching notebook does."""
    ordered = sorted(poems, key=lambda poem: poem["style"])
    val = [poem for i, poem in enumerate(ordered) if i % val_every == 0]
    return [poem for i, poem in enumerate(ordered) if i % val_every != 0], val


@pytest.mark.parametrize("val_every", [2, 3, 10])
def test_the_default_is_the_split_of_the_notebook(val_every: int) -> None:
    poems = with_duplicates()
    assert split_data(poems, val_every) == _notebook_split(poems, val_every)
    assert split_data(poems, val_every, duplicates="ignore") == _notebook_split(poems, val_every)
    assert split_data(poems) == _notebook_split(poems, 10)


@pytest.mark.parametrize("val_every", [2, 3, 10])
def test_together_no_validation_poem_has_a_duplicate_in_train(val_every: int) -> None:
    poems = with_duplicates()
    old_train, old_val = _notebook_split(poems, val_every)
    duplicates = duplicates_in(old_val, old_train)
    assert {None, "exact", "near"} == set(duplicates)

    train, val = split_data(poems, val_every, duplicates="together")
    assert set(duplicates_in(val, train)) == {None}
    assert val == [
        poem for poem, duplicate in zip(old_val, duplicates, strict=True) if duplicate is None
    ]
    ordered = sorted(poems, key=lambda poem: poem["style"])
    moved = [poem for poem, duplicate in zip(old_val, duplicates, strict=True) if duplicate]
    assert train == [poem for poem in ordered if poem in old_train or poem in moved]
    assert len(train) + len(val) == len(poems)


def test_duplicates_within_validation_stay_there() -> None:
    poems = make_poems(40)
    for poem in poems:
        poem["style"] = ""
    poems[10]["content"] = poems[0]["content"]
    assert split_data(poems, duplicates="together") == split_data(poems)


def test_without_duplicates_together_changes_nothing() -> None:
    poems = make_poems(200)
    assert split_data(poems, duplicates="together") == split_data(poems)


def test_a_validation_part_of_duplicates_alone_is_named() -> None:
    poems = make_poems(1) * 20
    with pytest.raises(
        NanopoetError, match=r"split\.duplicates = 'together' leaves no poem .* all 2 "
    ):
        split_data(poems, duplicates="together")


@pytest.mark.parametrize("duplicates", ["ignore", "together"])
def test_the_stage_lists_the_duplicates(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    write_params: Callable[..., Path],
    duplicates: str,
) -> None:
    write_params(split={"duplicates": duplicates})
    write_poems(tmp_path / "data/poems.jsonl", with_duplicates())
    monkeypatch.chdir(tmp_path)
    main()
    train, val = read_poems("data/train.jsonl"), read_poems("data/val.jsonl")
    named = json.loads(Path("data/val_duplicates.json").read_text(encoding="utf-8"))
    figures = json.loads(Path("metrics/split.json").read_text(encoding="utf-8"))
    assert named == duplicates_in(val, train)
    assert (figures["train_poems"], figures["val_poems"]) == (len(train), len(val))
    exact, near = figures["val_exact_duplicates"], figures["val_near_duplicates"]
    assert (exact, near) == (named.count("exact"), named.count("near"))
    assert (exact > 0, near > 0) == (duplicates == "ignore", duplicates == "ignore")
    counts = f"{exact} of the latter have an exact duplicate in train and {near} a near-duplicate"
    assert counts in capsys.readouterr().out
    # One line per poem, between the brackets.
    lines = Path("data/val_duplicates.json").read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(val) + 2


def test_a_part_without_a_poem_is_refused() -> None:
    poems = make_poems(2)
    train, val = split_data(poems, 1000)
    assert (len(train), len(val)) == (1, 1)
    with pytest.raises(NanopoetError, match="needs at least 2 poems"):
        split_data(poems[:1], 2)
    for val_every in (1, 0, -3):
        with pytest.raises(NanopoetError, match=f"val_every = {val_every} is not allowed: 2 or"):
            split_data(poems, val_every)
