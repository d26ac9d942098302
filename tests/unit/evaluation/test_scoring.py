import itertools

import numpy as np
import pytest
import torch

from nanopoet.common.device import Precision
from nanopoet.evaluation.prediction import TokenScores
from nanopoet.evaluation.sample_poems import sample_poems
from nanopoet.evaluation.scoring import score_tokens, scoring_windows
from nanopoet.models.base import LanguageModel
from nanopoet.models.gpt import GPTLanguageModel
from nanopoet.models.qwen3 import Qwen3LanguageModel
from nanopoet.tokens.dataset import TokenArrays
from nanopoet.tokens.tokenizer import CharTokenizer

CPU = torch.device("cpu")


@pytest.mark.parametrize("length", [8, 9, 15, 16, 17, 100])
@pytest.mark.parametrize("context", [0, 1, 4, 7])
def test_every_target_counts_once_and_has_context(length: int, context: int) -> None:
    counted: list[int] = []
    for start, first in scoring_windows(length, 8, context):
        assert 0 <= start <= length - 8
        assert first == 0 or first - start >= context
        counted += range(first, start + 8)
    assert counted == list(range(length))


def _model() -> GPTLanguageModel:
    return GPTLanguageModel(30, 16, 8, 1, 2, 0.0, generator=torch.Generator().manual_seed(0)).eval()


def _write(
    model: GPTLanguageModel,
    tokenizer: CharTokenizer,
    *,
    count: int,
    seed: int,
    precision: Precision = "fp32",
    batch_size: int = 250,
) -> list[str]:
    return sample_poems(
        model,
        tokenizer,
        count=count,
        length=12,
        temperature=1.0,
        seed=seed,
        device=CPU,
        precision=precision,
        batch_size=batch_size,
    )


def _arrays(*lengths: int, separate: bool = False) -> TokenArrays:
    """Poems of these lengths, out of ids 1 to 29, if `separate` with 0 before each."""
    ids = itertools.cycle(range(1, 30))
    poems = [[0] * separate + [next(ids) for _ in range(length)] for length in lengths]
    offsets = np.cumsum([0, *map(len, poems)])
    return TokenArrays(np.concatenate(poems).astype(np.uint16), offsets)


def _scores(arrays: TokenArrays, model: LanguageModel, **options: int) -> TokenScores:
    options = {"context": 7, "batch_size": 3} | options
    return score_tokens(model, arrays, device=CPU, precision="fp32", **options)


def _nats(arrays: TokenArrays, model: GPTLanguageModel, **options: int) -> list[float]:
    found = _scores(arrays, model, **options).poem_nats
    assert found.dtype == np.float64
    return [float(value) for value in found]


@pytest.mark.parametrize("separate", [False, True])
def test_each_poem_s_nats_are_those_of_its_tokens(separate: bool) -> None:
    model, arrays = _model(), _arrays(3, 11, 1, 8, separate=separate)
    tokens = arrays.tokens.tolist()
    stream = torch.tensor([[*tokens, 0] if separate else [0, *tokens]])
    expected = []
    for start, end in itertools.pairwise(arrays.offsets):
        nats = 0.0
        for i in range(start, end):  # context 7: each token sees the 8 before it, or all there are
            logits, _ = model(stream[:, max(0, i - 7) : i + 1])
            nats -= logits[0, -1].log_softmax(-1)[stream[0, i + 1]].item()
        expected.append(nats)
    assert _nats(arrays, model) == pytest.approx(expected, rel=1e-5)


def _modern(layers: int) -> Qwen3LanguageModel:
    """Return a model whose blocks, unlike untrained ones, add something."""
    generator = torch.Generator().manual_seed(0)
    model = Qwen3LanguageModel(30, 16, 8, layers, 2, 24, 0.0, kv_head_num=1, generator=generator)
    for parameter in model.blocks.parameters():
        torch.nn.init.normal_(parameter, std=0.5, generator=generator)
    return model.eval()


@pytest.mark.parametrize("context", [1, 3, 4])
@pytest.mark.parametrize("separate", [False, True])
def test_in_one_layer_segments_see_what_windows_see(separate: bool, context: int) -> None:
    """The keys of one layer do not depend on the tokens before them."""
    model, arrays = _modern(1), _arrays(3, 11, 1, 8, 20, separate=separate)
    tokens = arrays.tokens.tolist()
    stream = torch.tensor([[*tokens, 0] if separate else [0, *tokens]])
    expected = []
    for i in range(len(tokens)):
        start = max(0, i - context - (i - context) % (8 - context))
        logits, _ = model(stream[:, start : i + 1])
        expected.append(-logits[0, -1].log_softmax(-1)[stream[0, i + 1]].item())
    found = _scores(arrays, model, context=context).nats.tolist()
    assert found == pytest.approx(expected, rel=1e-4)


def test_segments_do_not_depend_on_the_batch() -> None:
    model, arrays = _modern(3), _arrays(3, 11, 1, 8, 20)
    one, *others = (
        _scores(arrays, model, context=4, batch_size=size).nats.tolist() for size in (1, 2, 50)
    )
    for each in others:
        assert each == pytest.approx(one, rel=1e-4)


def test_a_later_layer_sees_beyond_the_segment_before() -> None:
    """Its keys were computed with what stands before them."""
    model, arrays = _modern(2), _arrays(24)
    before = _scores(arrays, model, context=4).nats
    arrays.tokens[0] = 29
    changed = np.flatnonzero(_scores(arrays, model, context=4).nats != before)
    assert changed.tolist() == list(range(12))


@pytest.mark.parametrize("separate", [False, True])
def test_ranks_and_confidence_are_those_of_the_logits(separate: bool) -> None:
    model, arrays = _model(), _arrays(3, 11, 1, 8, separate=separate)
    scores = _scores(arrays, model)
    tokens = arrays.tokens.tolist()
    stream = torch.tensor([[*tokens, 0] if separate else [0, *tokens]])
    assert scores.targets.tolist() == stream[0, 1:].tolist()
    for i, target in enumerate(scores.targets.tolist()):
        logits, _ = model(stream[:, max(0, i - 7) : i + 1])
        order = logits[0, -1].argsort(descending=True).tolist()
        assert scores.ranks[i] == order.index(target)
        assert scores.confidence[i] == pytest.approx(logits[0, -1].softmax(-1).max().item(), 1e-4)


def test_a_uniform_model_needs_log_v() -> None:
    model = _model()
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    nats = _nats(_arrays(20, 30), model, context=2, batch_size=4)
    assert nats == pytest.approx([20 * np.log(30), 30 * np.log(30)])


def test_a_model_learns_on_after_it_was_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Moving a model to another device may replace its parameters."""

    def move(module: torch.nn.Module, _: torch.device) -> torch.nn.Module:
        for each in module.modules():
            for name, parameter in each.named_parameters(recurse=False):
                setattr(each, name, torch.nn.Parameter(parameter.detach().clone()))
        return module

    monkeypatch.setattr(GPTLanguageModel, "to", move)
    model, arrays = _model(), _arrays(3, 11, 1, 8)
    before = _nats(arrays, model)
    assert _nats(arrays, model) == before
    idx = torch.zeros(1, 4, dtype=torch.int64)
    torch.autograd.backward(model.train().loss(idx, idx))
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("length", [1, 3, 8])
def test_a_text_may_be_shorter_than_a_window(length: int) -> None:
    for model in (_model(), _modern(2)):
        found = _scores(_arrays(length), model, context=4).nats
        logits, _ = model(torch.tensor([[0, *range(1, length)]]))
        own = logits[0].log_softmax(-1)[torch.arange(length), torch.arange(1, length + 1)]
        assert found.tolist() == pytest.approx((-own).tolist(), rel=1e-5)


def test_a_poem_ends_where_the_model_ends_it() -> None:
    model = _model()
    torch.nn.init.constant_(model.lm_head.bias[:1], 100.0)
    tokenizer = CharTokenizer.from_characters("".join(chr(0x4E00 + i) for i in range(19)))
    poems = _write(model, tokenizer, count=2, seed=0)
    assert poems == ["", ""]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_poems_follow_their_seed(precision: Precision) -> None:
    tokenizer = CharTokenizer.from_characters("".join(chr(0x4E00 + i) for i in range(19)))

    def write(seed: int) -> list[str]:
        return _write(_model(), tokenizer, count=3, seed=seed, precision=precision)

    assert write(0) == write(0)
    assert write(0) != write(1)
    assert all(0 < len(poem) <= 12 for poem in write(0))


def test_poems_are_written_in_batches() -> None:
    tokenizer = CharTokenizer.from_characters("".join(chr(0x4E00 + i) for i in range(19)))
    poems = _write(_model(), tokenizer, count=5, seed=0, batch_size=2)
    assert len(poems) == 5
    assert len(set(poems)) == 5
