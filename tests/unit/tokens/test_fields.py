import numpy as np
import pytest

from nanopoet.corpus.poems import Poem
from nanopoet.tokens.fields import FieldBatches, FieldPoems, encode_request, field_windows
from nanopoet.tokens.tokenizer import PADDING_ID, CharTokenizer
from tests.support.poems import make_poems

POEMS = [
    Poem(content="春眠", title="曉", author="孟", style="五"),
    Poem(content="不覺曉。", title="", author="", style="五"),
    Poem(content="處", title="A", author="", style=""),
]
TOKENIZER = CharTokenizer(POEMS)


def _batches(size: int, **changes: float | bool) -> FieldBatches:
    options = {"field_dropout": 0.0, "content_only": False, "seed": 1} | changes
    return FieldBatches(FieldPoems.of(POEMS, TOKENIZER), size, 1, **options)  # type: ignore[arg-type]


def _batch(batches: FieldBatches, step: int) -> tuple[list[int], list[int]]:
    inputs, targets, *_ = batches(step, np.random.default_rng())
    return inputs[0].tolist(), targets[0].tolist()


def test_a_poem_is_its_fields_in_order_and_absent_fields_are_left_out() -> None:
    poems, all_fields = FieldPoems.of(POEMS, TOKENIZER), np.ones(3, dtype=bool)
    texts = [TOKENIZER.decode(poems.ids(i, all_fields)[0]) for i in range(len(poems))]
    assert texts == ["BA孟aS五sT曉tC春眠c", "BS五sC不覺曉。c", "BTAtC處c"]
    none = np.zeros(3, dtype=bool)
    assert TOKENIZER.decode(poems.ids(0, none)[0]) == "BC春眠c"
    ids, content = poems.ids(0, np.array([False, False, True]))
    assert TOKENIZER.decode(ids) == "BT曉tC春眠c"
    assert TOKENIZER.decode(ids[content:]) == "C春眠c"


@pytest.mark.parametrize("poem", POEMS)
def test_a_request_is_what_stands_before_the_content(poem: Poem) -> None:
    ids, content = FieldPoems.of([poem], TOKENIZER).ids(0, np.ones(3, dtype=bool))
    fields = {name: poem[name] for name in ("author", "style", "title")}
    request = encode_request(TOKENIZER, **fields)
    assert request == ids[: content + 1].tolist()
    assert (
        TOKENIZER.decode_poem([*request, *TOKENIZER.encode(poem["content"]), 10])
        == (poem["content"])
    )


def test_a_row_holds_whole_poems_and_then_padding() -> None:
    inputs, targets = _batch(_batches(40), 0)
    text = TOKENIZER.decode(inputs).rstrip("P")
    pieces = [f"B{piece}" for piece in text.split("B") if piece]
    expected = ["BA孟aS五sT曉tC春眠c", "BS五sC不覺曉。c", "BTAtC處c"]
    assert sorted(f"{piece.removesuffix('c')}c" for piece in pieces) == sorted(expected)
    for here, following, target in zip(inputs, [*inputs[1:], PADDING_ID], targets, strict=True):
        begins = following in (0, PADDING_ID)
        assert target == (PADDING_ID if begins else following), here


def test_a_long_poem_is_cut_and_none_is_lost() -> None:
    batches = _batches(8)
    starts = [TOKENIZER.decode(_batch(batches, step)[0])[:2] for step in range(2)]
    assert set(starts) <= {"BA", "BS", "BT"}
    assert len(_batch(batches, 0)[0]) == 8


def test_only_the_content_is_learned_if_told_so() -> None:
    learned = ""
    batches = _batches(16, content_only=True)
    for step in range(2):
        _, targets = _batch(batches, step)
        learned += TOKENIZER.decode([target for target in targets if target != PADDING_ID])
    assert sorted(learned.split("c")) == sorted(["春眠", "不覺曉。", "處", ""])


def test_fields_are_drawn_anew_in_each_epoch_and_follow_from_the_seed() -> None:
    poems = make_poems(200)
    tokenizer = CharTokenizer(poems)
    encoded = FieldPoems.of(poems, tokenizer)

    def rows(seed: int, steps: range) -> list[str]:
        batches = FieldBatches(encoded, 64, 4, field_dropout=0.5, content_only=False, seed=seed)
        found = [batches(step, np.random.default_rng())[0] for step in steps]
        return [tokenizer.decode(row).rstrip("P") for row in np.concatenate(found)]

    assert rows(1, range(5, 9)) == rows(1, range(9))[20:]
    assert rows(1, range(9)) != rows(2, range(9))
    many = "".join(rows(1, range(60)))
    poems_seen = many.count("B")
    for mark in "AST":
        assert 0.4 < many.count(mark) / poems_seen < 0.6
    subsets = {"".join(c for c in poem if c in "AST") for poem in many.split("B")}
    assert subsets == {"", "A", "S", "T", "AS", "AT", "ST", "AST"}


def test_validation_rows_have_one_poem_each_and_its_content_as_target() -> None:
    inputs, targets = field_windows(FieldPoems.of(POEMS, TOKENIZER), 20, 3)
    assert [TOKENIZER.decode(row).rstrip("P").removesuffix("c") for row in inputs] == [
        "BA孟aS五sT曉tC春眠",
        "BS五sC不覺曉。",
        "BTAtC處",
    ]
    learned = [TOKENIZER.decode(row[row != PADDING_ID]) for row in targets]
    assert learned == ["春眠c", "不覺曉。c", "處c"]
