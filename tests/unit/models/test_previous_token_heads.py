from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from nanopoet.models.previous_token_heads import add_previous_token_heads
from nanopoet.models.qwen3 import Qwen3LanguageModel
from nanopoet.ops.attention import causal_attention


def _model(head_num: int = 4, kv_head_num: int = 2) -> Qwen3LanguageModel:
    return Qwen3LanguageModel(
        500, 256, 64, 2, head_num, 64, 0.0, kv_head_num=kv_head_num,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Record the queries and keys of each block that computes."""
    seen: list[tuple[Tensor, Tensor]] = []

    def keep(q: Tensor, k: Tensor, v: Tensor, length: int | None) -> Tensor:
        seen.append((q, k))
        return causal_attention(q, k, v, length=length)

    monkeypatch.setattr("nanopoet.models.qwen3.causal_attention", keep)
    yield seen


@pytest.mark.parametrize("kv_head_num", [1, 2, 4])
@pytest.mark.parametrize("lags", [[1], [1, 2], [2, 5, 1]])
def test_heads_attend_to_their_lags(
    lags: list[int], kv_head_num: int, seen: list[tuple[Tensor, Tensor]]
) -> None:
    model = _model(kv_head_num=kv_head_num)
    add_previous_token_heads(model, lags, torch.Generator().manual_seed(1))
    model.hidden(torch.randint(500, (4, 64)))
    q, k = seen[0]
    k = k.repeat_interleave(4 // kv_head_num, dim=1)
    scores = q @ k.transpose(2, 3) / 8  # (B, H, T, T)
    weights = scores.masked_fill(torch.ones(64, 64).triu(1).bool(), float("-inf")).softmax(dim=-1)
    for head, lag in enumerate(lags):
        there = weights[:, head].diagonal(-lag, dim1=1, dim2=2).mean()
        others = [
            weights[:, head].diagonal(-d, dim1=1, dim2=2).mean() for d in range(12) if d != lag
        ]
        assert there > 1.2 * max(others)
    without_lag = weights[:, len(lags) :].diagonal(-1, dim1=2, dim2=3).mean()
    assert without_lag < 0.15


def test_no_other_weights_change() -> None:
    model, plain = _model(), _model().state_dict()
    add_previous_token_heads(model, [3], torch.Generator().manual_seed(1))
    changed = {
        name for name, value in model.state_dict().items() if not torch.equal(value, plain[name])
    }
    assert changed == {"token_embedding.weight", "blocks.0.attn.qkv_proj.weight"}
    name = "blocks.0.attn.qkv_proj.weight"
    rows = (model.state_dict()[name] != plain[name]).view(8, -1).any(dim=1)
    assert rows.tolist() == [
        *(True, False, False, False),  # queries
        *(True, False),  # keys
        *(False, False),  # values
    ]
    own = model.token_embedding.weight - model.token_embedding.weight.mean(dim=0)
    torch.testing.assert_close(
        own, plain["token_embedding.weight"] - plain["token_embedding.weight"].mean(dim=0)
    )


@pytest.mark.parametrize(("emb_size", "head_num"), [(4, 2), (16, 2), (30, 3)])
def test_narrow_heads_have_finite_weights(emb_size: int, head_num: int) -> None:
    model = Qwen3LanguageModel(30, emb_size, 8, 1, head_num, 24, 0.0)
    add_previous_token_heads(model, [1, 2])
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_more_lags_than_heads_are_an_error() -> None:
    with pytest.raises(ValueError, match="5 lags are more than head_num 4"):
        add_previous_token_heads(_model(), [1, 2, 3, 4, 5])
