"""Second losses of the finetuning."""

import torch

from nanopoet.tokens.fields import encode_request
from nanopoet.tokens.tokenizer import BEGIN, BEGIN_ID, CONTENT, CONTENT_END_ID, CharTokenizer
from nanopoet.training.second_losses import (
    repeat_loss,
    rhyme_distinct_loss,
    rhyme_loss,
    shape_loss,
    title_loss,
)

TOKENIZER = CharTokenizer.from_characters("春，。樓流看寒𠮷")


def _right(loss_right: torch.Tensor) -> list[str]:
    """Return the right tokens of each row, as text."""
    return ["".join(TOKENIZER.decode(row.nonzero()[:, 0].tolist())) for row in loss_right]


def test_marks_and_the_end_are_classes_of_their_own() -> None:
    targets = torch.tensor([[*TOKENIZER.encode("春，。"), CONTENT_END_ID]])
    right, weights, _ = shape_loss(TOKENIZER, 2.0).rows(targets, targets)
    character, *alone = _right(right)
    assert alone == ["，", "。", "c"]
    assert set("春樓流看寒𠮷") <= set(character)
    assert not set("，。c") & set(character)
    assert weights.tolist() == [2.0] * 4


def test_a_rhyme_is_asked_for_before_the_end_of_a_sentence() -> None:
    targets = torch.tensor([TOKENIZER.encode("流。樓，看。寒。𠮷。春")])
    right, weights, at = rhyme_loss(TOKENIZER, 3.0).rows(targets, targets)
    assert at is not None
    assert at.tolist() == [0, 4, 6, 8]
    assert weights.tolist() == [3.0] * 4
    flow, look, cold, unread = _right(right)
    assert set(flow) == set("流樓")
    assert set(look) == set(cold) == set("看寒")
    assert "𠮷" in unread
    assert not set("春樓流看寒") & set(unread)


def test_a_vocabulary_without_marks_has_no_rhymes() -> None:
    tokenizer = CharTokenizer.from_characters("春樓流")
    targets = torch.tensor([tokenizer.encode("春樓流")])
    right, weights, at = rhyme_loss(tokenizer, 1.0).rows(targets, targets)
    assert at is not None
    assert right.shape == (0, tokenizer.vocab_size)
    assert weights.shape == at.shape == (0,)


def test_a_character_of_the_title_is_asked_for() -> None:
    row = torch.tensor([[*encode_request(TOKENIZER, title="春，樓"), *TOKENIZER.encode("看春")]])
    right, weights, _ = title_loss(TOKENIZER, 4.0).rows(row[:, :-1], row[:, 1:])
    other, spring = _right(right[-2:])
    assert spring == "春樓", "a mark is no character of the title"
    assert set(other) == {"，", "c", *"。流看寒𠮷"} | set(TOKENIZER.decode(range(10)))
    assert weights[-2:].tolist() == [4.0, 4.0]


def test_without_a_title_none_of_it_is_asked_for() -> None:
    row = torch.tensor([[*encode_request(TOKENIZER), *TOKENIZER.encode("春看")]])
    _, weights, _ = title_loss(TOKENIZER, 4.0).rows(row[:, :-1], row[:, 1:])
    assert not weights.any()


def test_a_character_that_the_content_has_is_asked_for() -> None:
    poem = [*encode_request(TOKENIZER, title="寒"), *TOKENIZER.encode("春，看，春"), CONTENT_END_ID]
    other = [*encode_request(TOKENIZER), *TOKENIZER.encode("樓"), CONTENT_END_ID]
    row = torch.tensor([[*other, *poem]])
    right, weights, _ = repeat_loss(TOKENIZER, 3.0).rows(row[:, :-1], row[:, 1:])
    [again] = _right(right[-2, None])
    assert set(again) == set("春看"), "neither marks, nor the title, nor the poem before"
    assert weights[-7:].tolist() == [0, 0, 3, 3, 3, 3, 3]


def test_a_character_that_ended_a_line_is_asked_for_before_the_end_of_a_sentence() -> None:
    text = TOKENIZER.encode("春樓，看流。春寒，看樓。")
    request = encode_request(TOKENIZER, title="春，寒")
    for start, begin in (([BEGIN_ID], BEGIN), (request, CONTENT)):
        row = torch.tensor([[*start, *text]])
        right, weights, at = rhyme_distinct_loss(TOKENIZER, 3.0, begin).rows(
            row[:, :-1], row[:, 1:]
        )
        assert at is not None
        assert (at - len(start) + 1).tolist() == [4, 10], "where 流 and the second 樓 come next"
        new, used = _right(right)
        assert set("春樓流看寒𠮷") - set(new) == {"樓"}
        assert set(used) == set("樓流寒"), "neither other characters, nor those of the title"
        assert weights.tolist() == [3.0] * 2


def test_no_rhyme_comes_back_from_the_poem_before() -> None:
    row = torch.tensor([[BEGIN_ID, *TOKENIZER.encode("樓。"), BEGIN_ID, *TOKENIZER.encode("樓。")]])
    _, weights, _ = rhyme_distinct_loss(TOKENIZER, 3.0, BEGIN).rows(row[:, :-1], row[:, 1:])
    assert weights.tolist() == [0.0] * 2
