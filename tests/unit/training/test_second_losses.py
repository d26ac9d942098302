"""Second losses of the finetuning."""

import torch

from nanopoet.ops.second_loss import SecondRows
from nanopoet.tokens.fields import encode_request
from nanopoet.tokens.tokenizer import BEGIN, BEGIN_ID, CONTENT, CONTENT_END_ID, CharTokenizer
from nanopoet.training.second_losses import (
    repeat_loss,
    rhyme_distinct_loss,
    rhyme_loss,
    shape_loss,
    title_loss,
)
from tests.support.second_rows import right_tokens

TOKENIZER = CharTokenizer.from_characters("春，。樓流看寒𠮷")


ANY = "".join(TOKENIZER.decode(range(TOKENIZER.vocab_size)))
"""All tokens: those that are right where a loss asks for nothing."""


def _right(rows: SecondRows) -> list[str]:
    """Return the right tokens of each row, as text."""
    right = right_tokens(rows, TOKENIZER.vocab_size)
    return ["".join(TOKENIZER.decode(row.nonzero()[:, 0].tolist())) for row in right]


def test_marks_and_the_end_are_classes_of_their_own() -> None:
    targets = torch.tensor([[*TOKENIZER.encode("春，。"), CONTENT_END_ID]])
    rows = shape_loss(TOKENIZER, 2.0).rows(targets, targets)
    character, *alone = _right(rows)
    assert alone == ["，", "。", "c"]
    assert set("春樓流看寒𠮷") <= set(character)
    assert not set("，。c") & set(character)
    assert rows.weights.tolist() == [2.0] * 4


def test_a_rhyme_is_asked_for_before_the_end_of_a_sentence() -> None:
    targets = torch.tensor([TOKENIZER.encode("流。樓，看。寒。𠮷。春")])
    rows = rhyme_loss(TOKENIZER, 3.0).rows(targets, targets)
    assert rows.at is not None
    assert rows.at.tolist() == [0, 4, 6, 8]
    assert rows.weights.tolist() == [3.0] * 4
    flow, look, cold, unread = _right(rows)
    assert set(flow) == set("流樓")
    assert set(look) == set(cold) == set("看寒")
    assert "𠮷" in unread
    assert not set("春樓流看寒") & set(unread)


def test_a_vocabulary_without_marks_has_no_rhymes() -> None:
    tokenizer = CharTokenizer.from_characters("春樓流")
    targets = torch.tensor([tokenizer.encode("春樓流")])
    rows = rhyme_loss(tokenizer, 1.0).rows(targets, targets)
    assert rows.at is not None
    assert rows.members.shape == (0, tokenizer.vocab_size)
    assert rows.weights.shape == rows.at.shape == (0,)


def test_a_character_of_the_title_is_asked_for() -> None:
    row = torch.tensor([[*encode_request(TOKENIZER, title="春，樓"), *TOKENIZER.encode("看春")]])
    rows = title_loss(TOKENIZER, 4.0).rows(row[:, :-1], row[:, 1:])
    other, spring = _right(rows)[-2:]
    assert spring == "春樓", "a mark is no character of the title"
    assert set(other) == {"，", "c", *"。流看寒𠮷"} | set(TOKENIZER.decode(range(10)))
    assert rows.weights[-2:].tolist() == [4.0, 4.0]


def test_without_a_title_none_of_it_is_asked_for() -> None:
    row = torch.tensor([[*encode_request(TOKENIZER), *TOKENIZER.encode("春看")]])
    assert set(_right(title_loss(TOKENIZER, 4.0).rows(row[:, :-1], row[:, 1:]))) == {ANY}


def test_a_character_that_the_content_has_is_asked_for() -> None:
    poem = [*encode_request(TOKENIZER, title="寒"), *TOKENIZER.encode("春，看，春"), CONTENT_END_ID]
    other = [*encode_request(TOKENIZER), *TOKENIZER.encode("樓"), CONTENT_END_ID]
    row = torch.tensor([[*other, *poem]])
    right = _right(repeat_loss(TOKENIZER, 3.0).rows(row[:, :-1], row[:, 1:]))
    assert set(right[-2]) == set("春看"), "neither marks, nor the title, nor the poem before"
    assert [each == ANY for each in right[-7:]] == [True, True, *[False] * 5]


def test_a_character_that_ended_a_line_is_asked_for_before_the_end_of_a_sentence() -> None:
    text = TOKENIZER.encode("春樓，看流。春寒，看樓。")
    request = encode_request(TOKENIZER, title="春，寒")
    for start, begin in (([BEGIN_ID], BEGIN), (request, CONTENT)):
        row = torch.tensor([[*start, *text]])
        rows = rhyme_distinct_loss(TOKENIZER, 3.0, begin).rows(row[:, :-1], row[:, 1:])
        assert rows.at is not None
        assert (rows.at - len(start) + 1).tolist() == [4, 10], (
            "where 流 and the second 樓 come next"
        )
        new, used = _right(rows)
        assert set("春樓流看寒𠮷") - set(new) == {"樓"}
        assert set(used) == set("樓流寒"), "neither other characters, nor those of the title"
        assert rows.weights.tolist() == [3.0] * 2


def test_no_rhyme_comes_back_from_the_poem_before() -> None:
    row = torch.tensor([[BEGIN_ID, *TOKENIZER.encode("樓。"), BEGIN_ID, *TOKENIZER.encode("樓。")]])
    rows = rhyme_distinct_loss(TOKENIZER, 3.0, BEGIN).rows(row[:, :-1], row[:, 1:])
    assert _right(rows) == [ANY] * 2
