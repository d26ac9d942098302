"""Second losses of the finetuning."""

import torch

from nanopoet.tokens.tokenizer import CONTENT_END_ID, CharTokenizer
from nanopoet.training.class_losses import rhyme_loss, shape_loss

TOKENIZER = CharTokenizer.from_characters("春，。樓流看寒𠮷")


def _right(loss_right: torch.Tensor) -> list[str]:
    """Return the right tokens of each row, as text."""
    return ["".join(TOKENIZER.decode(row.nonzero()[:, 0].tolist())) for row in loss_right]


def test_marks_and_the_end_are_classes_of_their_own() -> None:
    right, classes, weights = shape_loss(TOKENIZER, 2.0).rows(
        torch.tensor([*TOKENIZER.encode("春，。"), CONTENT_END_ID])
    )
    character, *alone = _right(right[classes])
    assert alone == ["，", "。", "c"]
    assert set("春樓流看寒𠮷") <= set(character)
    assert not set("，。c") & set(character)
    assert weights.tolist() == [2.0] * 4


def test_a_rhyme_is_asked_for_before_the_end_of_a_sentence() -> None:
    targets = torch.tensor(TOKENIZER.encode("流。樓，看。寒。𠮷。"))
    right, classes, weights = rhyme_loss(TOKENIZER, 3.0).rows(targets)
    assert weights.tolist() == [3.0, 0, 0, 0, 3.0, 0, 3.0, 0, 3.0, 0]
    flow, look, cold, unread = _right(right[classes][weights > 0])
    assert set(flow) == set("流樓")
    assert set(look) == set(cold) == set("看寒")
    assert "𠮷" in unread
    assert not set("春樓流看寒") & set(unread)


def test_a_vocabulary_without_marks_has_no_rhymes() -> None:
    tokenizer = CharTokenizer.from_characters("春樓流")
    _, _, weights = rhyme_loss(tokenizer, 1.0).rows(torch.tensor(tokenizer.encode("春樓流")))
    assert weights.tolist() == [1.0] * 3
