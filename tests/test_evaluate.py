import numpy as np
import pytest
import torch

from nanopoet.errors import NanopoetError
from nanopoet.evaluate import code_length, scoring_windows, write_poems
from nanopoet.model import GPTLanguageModel
from nanopoet.tokenizer import CharTokenizer

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


def test_code_length_is_the_sum_over_all_tokens() -> None:
    model, tokens = _model(), np.arange(23, dtype=np.uint16) % 30
    stream = torch.tensor([[0, *tokens.tolist()]])
    expected = 0.0
    for i in range(23):  # context 7: each token sees the 8 before it, or all there are
        logits, _ = model(stream[:, max(0, i - 7) : i + 1])
        expected -= logits[0, -1].log_softmax(-1)[stream[0, i + 1]].item()
    found = code_length(model, tokens, context=7, batch_size=3, device=CPU, precision="fp32")
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_uniform_model_needs_log_v() -> None:
    model = _model()
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    tokens = np.arange(50, dtype=np.uint16) % 30
    found = code_length(model, tokens, context=2, batch_size=4, device=CPU, precision="fp32")
    assert found / 50 == pytest.approx(np.log(30))


def test_too_few_tokens_are_named() -> None:
    with pytest.raises(NanopoetError, match="validation part has 8 tokens"):
        code_length(
            _model(), np.zeros(8, np.uint16), context=0, batch_size=1, device=CPU, precision="fp32"
        )


def test_poems_follow_their_seed() -> None:
    tokenizer = CharTokenizer.from_characters("".join(chr(0x4E00 + i) for i in range(19)))

    def write(seed: int) -> list[str]:
        return write_poems(
            _model(), tokenizer, count=3, length=12, temperature=1.0, seed=seed, device=CPU
        )

    assert write(0) == write(0)
    assert write(0) != write(1)
    assert [len(poem) for poem in write(0)] == [12, 12, 12]
