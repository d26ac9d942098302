"""Scores of contents: each character once, whatever the batches and the length of the poem."""

import numpy as np
import pytest
import torch

from nanopoet.corpus.poems import Poem
from nanopoet.evaluation.field_scores import score_contents
from nanopoet.tokens.fields import FIELDS, FieldPoems
from tests.support.models import tiny_model
from tests.support.poems import make_poems

CPU = torch.device("cpu")
MODEL, TOKENIZER = tiny_model()
POEMS = [
    Poem(**poem | {"content": poem["content"][: 3 + i]}) for i, poem in enumerate(make_poems(7))
]


def _score(poems: list[Poem], given: tuple[str, ...], batch_size: int = 3) -> np.ndarray:
    encoded = FieldPoems.of(poems, TOKENIZER)
    return score_contents(
        MODEL, encoded, given, batch_size=batch_size, device=CPU, precision="fp32"
    )


@pytest.mark.parametrize("given", [(), ("title",), FIELDS])
def test_a_score_is_the_loss_of_the_content_and_its_end(given: tuple[str, ...]) -> None:
    encoded = FieldPoems.of(POEMS, TOKENIZER)
    kept = np.array([name in given for name in FIELDS])
    expected = []
    for poem in range(len(POEMS)):
        ids, content = encoded.ids(poem, kept)
        assert len(ids) <= MODEL.block_size + 1
        losses = MODEL.token_losses(torch.tensor(ids[None, :-1]), torch.tensor(ids[None, 1:]))[0]
        expected.append(losses[content:].sum().item())
    assert _score(POEMS, given) == pytest.approx(expected, rel=1e-5)


def test_batches_do_not_matter() -> None:
    assert _score(POEMS, FIELDS, 1) == pytest.approx(_score(POEMS, FIELDS, 50), rel=1e-5)


def test_a_long_poem_is_scored_to_its_end() -> None:
    """Each further window has half a window of context."""
    content = "".join(poem["content"] for poem in make_poems(4))
    [nats] = _score([Poem(content=content, title="", author="", style="")], ())
    ids = [0, *TOKENIZER.encode("C"), *TOKENIZER.encode(content)]
    ids[1] = 9
    stream, size, done, expected = torch.tensor([[*ids, 10]]), MODEL.block_size, 1, 0.0
    while done < stream.shape[1] - 1:
        start = min(max(0, done - size // 2), stream.shape[1] - 1 - size)
        inputs, targets = stream[:, start : start + size], stream[:, start + 1 : start + size + 1]
        expected += MODEL.token_losses(inputs, targets)[0, done - start :].sum().item()
        done = start + size
    assert nats == pytest.approx(expected, rel=1e-5)
