"""The start from counts of neighbouring tokens."""

import numpy as np
import pytest
import torch

from nanopoet.common.types import Array
from nanopoet.models.previous_token_heads import add_previous_token_heads
from nanopoet.models.qwen3 import Qwen3LanguageModel
from nanopoet.training.bigram_start import Bigrams, start_as_bigram_model

SIZE, SEEN = 24, 20
"""Token ids, and those that the text has."""


@pytest.fixture
def tokens() -> Array:
    """A text of 100,000 tokens, in which each token has a few likely followers."""
    rng = np.random.default_rng(0)
    following = rng.dirichlet(np.full(SEEN, 0.2), size=SEEN)
    text = [0]
    for point in rng.random(100_000):
        text.append(int(np.searchsorted(following[text[-1]].cumsum(), point)) % SEEN)
    return np.array(text, dtype=np.uint16)


def _model(emb_size: int = 64) -> Qwen3LanguageModel:
    generator = torch.Generator().manual_seed(0)
    return Qwen3LanguageModel(SIZE, emb_size, 16, 2, 4, 32, 0.0, generator=generator)


def _started(tokens: Array, emb_size: int = 64, lags: tuple[int, ...] = ()) -> Qwen3LanguageModel:
    model = _model(emb_size)
    if lags:
        add_previous_token_heads(model, lags, torch.Generator().manual_seed(1))
    start_as_bigram_model(model, tokens, torch.Generator().manual_seed(2))
    return model


@pytest.mark.parametrize("lags", [(), (1, 2)])
def test_it_predicts_what_followed(tokens: Array, lags: tuple[int, ...]) -> None:
    counts = np.zeros((SIZE, SIZE))
    np.add.at(counts, (tokens[:-1], tokens[1:]), 1)
    smoothing = 200 * (counts.sum(0) + 0.5) / (counts.sum(0) + 0.5).sum()
    wanted = (counts + smoothing) / (counts.sum(1, keepdims=True) + 200)
    model = _started(tokens, lags=lags)
    logits, _ = model(torch.arange(SEEN)[:, None])
    found = logits[:, 0].softmax(dim=-1).detach().numpy()
    np.testing.assert_allclose(found, wanted[:SEEN], atol=0.03)


def test_fewer_channels_than_tokens_predict_better_than_chance(tokens: Array) -> None:
    targets = torch.from_numpy(tokens[:1000].astype(np.int64))
    losses = [
        model(targets[:-1, None], targets[1:, None])[1]
        for model in (_model(8), _started(tokens, 8), _started(tokens))
    ]
    random, few, many = (loss.item() for loss in losses if loss is not None)
    assert random > few + 0.3
    assert few > many


def test_the_same_random_numbers_give_the_same_weights(tokens: Array) -> None:
    one, other = (_started(tokens, lags=(1,)).state_dict() for _ in range(2))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_blocks_stay_as_they_were(tokens: Array) -> None:
    plain = _model().state_dict()
    changed = {
        name
        for name, value in _started(tokens).state_dict().items()
        if (value != plain[name]).any()
    }
    assert changed == {"token_embedding.weight", "lm_head.weight"}


def test_tokens_without_pairs_differ(tokens: Array) -> None:
    rows = _started(tokens).token_embedding.weight[SEEN:]
    assert torch.pdist(rows).min() > 0.1


def test_what_all_rows_share_is_kept(tokens: Array) -> None:
    """So previous-token heads find it."""
    model = _model()
    add_previous_token_heads(model, (1,), torch.Generator().manual_seed(1))
    before = model.token_embedding.weight.mean(dim=0)
    start_as_bigram_model(model, tokens, torch.Generator().manual_seed(2))
    after = model.token_embedding.weight.mean(dim=0)
    assert torch.cosine_similarity(before, after, dim=0) > 0.9
    assert after.norm() > 12 * before.norm()


def test_counts() -> None:
    bigrams = Bigrams.from_tokens(np.array([0, 1, 0, 1, 2], dtype=np.uint16), 4)
    assert bigrams.counts.tolist() == [2, 2, 0, 0]
    assert bigrams.gain._nnz() == 3
    assert bigrams.log_shares.exp().sum().item() == pytest.approx(1)
