import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from nanopoet.common.errors import FileError, NanopoetError
from nanopoet.corpus.poems import Poem
from nanopoet.models.base import LanguageModel
from nanopoet.ops.linear import CAN_PACK, Linear
from nanopoet.param_sections import PretrainParams
from nanopoet.params import load_params
from nanopoet.tokens.encode import encode_poems
from nanopoet.tokens.tokenizer import CharTokenizer
from nanopoet.training.history import StepRecord, read_history, write_history
from nanopoet.training.pretraining import make_trainer
from tests.support.params import CLASSIC, MODERN, SMALL
from tests.support.poems import make_poems

Train = Callable[..., tuple[LanguageModel, list[StepRecord]]]
PLAIN = {"initial_weights": "random", "rhyme_weight": 0.0, "rhyme_distinct_weight": 0.0}
"""Changes that take away the start from bigrams and the losses on rhymes."""


@pytest.fixture
def run(write_params: Callable[..., Path], poems: list[Poem]) -> Train:
    tokenizer = CharTokenizer(poems)

    def go(
        val_length: int | None = None, separators: bool = True, **changes: Any
    ) -> tuple[LanguageModel, list[StepRecord]]:
        params: PretrainParams = load_params(
            write_params(pretrain=SMALL["pretrain"] | changes, evaluate=SMALL["evaluate"])
        ).pretrain
        train, val = (
            encode_poems(part, tokenizer, separators).tokens
            for part in (poems, make_poems(40, seed=1))
        )
        trainer = make_trainer(train, val[:val_length], tokenizer, params)
        return trainer.model, list(trainer)

    return go


def _weights(model: LanguageModel) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.mark.parametrize(
    ("recipe", "golden"),
    [
        (CLASSIC | PLAIN, {0: (4.1976, 4.1544), 10: (3.7218, 3.6568), 19: (3.6379, 3.6367)}),
        (MODERN | PLAIN, {0: (4.3614, 4.3679), 10: (3.9069, 3.9559), 19: (3.8283, 3.8514)}),
        (MODERN, {0: (3.6081, 3.6921), 10: (3.6313, 3.7012), 19: (3.5841, 3.6282)}),
    ],
)
def test_golden_loss(
    run: Train, recipe: dict[str, Any], golden: dict[int, tuple[float, float]]
) -> None:
    """Compare the loss of 20 steps.

    Other CPUs round differently, by less than the tolerance. Five iterations in Muon instead of
    three would change it by 0.003 and more.
    """
    _, records = run(max_steps=20, eval_every=10, **recipe)
    assert [record.step for record in records if record.loss_val is not None] == [0, 10, 19]
    for step, (loss_train, loss_val) in golden.items():
        assert records[step].loss_train == pytest.approx(loss_train, abs=0.002)
        assert records[step].loss_val == pytest.approx(loss_val, abs=0.002)


def test_records_count_steps_and_tokens(run: Train) -> None:
    _, records = run()
    assert [record.step for record in records] == list(range(6))
    assert [record.tokens for record in records] == [128 * n for n in range(1, 7)]
    assert [record.step for record in records if record.samples] == [0, 2, 4, 5]
    assert all(record.grad_norm > 0 for record in records)
    for record in records:
        for prompt, poem in (record.samples or {}).items():
            assert poem.startswith(prompt)
            assert len(poem) <= len(prompt) + 20
    assert list(records[0].samples or {}) == ["", "明月", "春風"]


def test_the_same_seed_gives_the_same_weights(run: Train) -> None:
    assert torch.equal(_weights(run()[0]), _weights(run()[0]))
    assert not torch.equal(_weights(run()[0]), _weights(run(seed=1)[0]))


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_character_features_take_part(run: Train, optimizer: str) -> None:
    alone, sharing = (
        _weights(run(optimizer=optimizer, character_features=kinds)[0]) for kinds in ([], ["tone"])
    )
    assert not torch.equal(alone, sharing)


@pytest.mark.parametrize("recipe", [CLASSIC, MODERN])
def test_the_losses_on_rhymes_end_when_the_rates_fall(run: Train, recipe: dict[str, Any]) -> None:
    """It changes what is learned until then, and from then on costs nothing."""
    runs = [
        run(**recipe | {"decay": decay, "rhyme_weight": weight, "rhyme_distinct_weight": weight})[0]
        for decay, weight in ((0.5, 2.0), (0.5, 0.0), (1.0, 2.0), (1.0, 0.0))
    ]
    late, without, never, without_too = map(_weights, runs)
    assert not torch.equal(late, without)
    assert torch.equal(never, without_too)
    assert [len(model.second_losses) for model in runs] == [0] * 4


def test_a_start_from_bigrams_begins_lower(run: Train) -> None:
    random, bigrams = (
        run(**MODERN | {"initial_weights": start})[1][0] for start in ("random", "bigrams")
    )
    assert bigrams.loss_train < random.loss_train - 0.2


def test_evaluation_does_not_change_the_training(run: Train) -> None:
    assert torch.equal(_weights(run()[0]), _weights(run(eval_every=1)[0]))


@pytest.mark.skipif(not CAN_PACK[torch.float32], reason="oneDNN is not here")
def test_each_evaluation_packs_its_weights_once(
    run: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights change between evaluations; training never packs."""
    shapes = []
    pack = torch.ops.mkldnn._reorder_linear_weight

    def record(weight: torch.Tensor) -> torch.Tensor:
        assert not torch.is_grad_enabled()
        shapes.append(weight.shape)
        packed: torch.Tensor = pack(weight)
        return packed

    monkeypatch.setattr(torch.ops.mkldnn, "_reorder_linear_weight", record)
    model, records = run(precision="fp32")
    evaluations = sum(record.loss_val is not None for record in records)
    assert evaluations == 4
    layers = [module for module in model.modules() if isinstance(module, Linear)]
    assert len(shapes) == evaluations * len(layers)


def test_torch_s_global_generator_is_left_alone(run: Train) -> None:
    states = []
    for max_steps in (1, 5):
        torch.manual_seed(7)
        run(max_steps=max_steps)
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


def test_micro_batches_add_up_to_the_batch(run: Train) -> None:
    _, whole = run(micro_batch_size=4, dropout=0.0)
    _, parts = run(micro_batch_size=1, dropout=0.0)
    for one, other in zip(whole, parts, strict=True):
        assert one.loss_train == pytest.approx(other.loss_train, rel=1e-3)
        assert one.grad_norm == pytest.approx(other.grad_norm, rel=1e-2)


def test_a_diverged_loss_is_an_error(run: Train) -> None:
    with pytest.raises(NanopoetError, match=r"diverged at step \d.*pretrain\.lr = 1e\+30"):
        run(lr=1e30)


def test_a_short_validation_part_is_an_error(run: Train) -> None:
    with pytest.raises(NanopoetError, match="the validation part has 32 tokens"):
        run(val_length=32)


def test_a_missing_device_is_an_error(run: Train) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has it")
    with pytest.raises(NanopoetError, match=r"device = 'cuda' is not on this machine .*cpu"):
        run(device="cuda")


def test_history_round_trip(tmp_path: Path, run: Train) -> None:
    _, records = run()
    write_history(tmp_path, records)
    assert read_history(tmp_path) == records


def test_a_damaged_history_is_an_error(tmp_path: Path, run: Train) -> None:
    _, records = run()
    write_history(tmp_path, records)
    (tmp_path / "history.csv").write_text("step,tokens\n1,two\n")
    with pytest.raises(FileError, match=r"history\.csv, .* is missing or damaged"):
        read_history(tmp_path)


def both_compiled(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test of both recipes that needs torch's compiler."""
    for mark in (
        pytest.mark.skipif(shutil.which("g++") is None, reason="torch's compiler needs g++"),
        pytest.mark.parametrize("recipe", [CLASSIC, MODERN]),
    ):
        test = mark(test)
    return test


@both_compiled
@pytest.mark.process
def test_compiled_it_is_the_same_training(run: Train, recipe: dict[str, Any]) -> None:
    """Dropout draws the same random numbers; only the last bits of the losses differ."""
    _, plain = run(**recipe, max_steps=3, compile="off")
    _, compiled = run(**recipe, max_steps=3, compile="on")
    for one, other in zip(plain, compiled, strict=True):
        assert other.loss_train == pytest.approx(one.loss_train, abs=1e-4)
        assert other.grad_norm == pytest.approx(one.grad_norm, rel=1e-3)


@both_compiled
@pytest.mark.process
def test_compiled_and_with_two_threads_it_ends_in_the_same_bits(
    run: Train, recipe: dict[str, Any]
) -> None:
    """Gradients of positions that share an embedding are added in a fixed order."""
    batch = {"batch_size": 64, "micro_batch_size": 64, "block_size": 32, "eval_every": 100}
    torch.set_num_threads(2)
    try:
        first, *others = [
            _weights(run(**recipe, **batch, max_steps=3, compile="on")[0]) for _ in range(4)
        ]
    finally:
        torch.set_num_threads(1)
    assert all(torch.equal(other, first) for other in others)
