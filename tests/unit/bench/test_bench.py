"""Tests of the functions behind the comparisons."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile, record_function

from bench import notebook, time_to_loss
from bench.memory import peak_bytes
from bench.profile import GENERATION, REST, kinds
from bench.trial import changed_params, hold_out
from nanopoet.common.errors import NanopoetError
from nanopoet.models.flops import flops_per_token
from nanopoet.models.gpt import GPTLanguageModel
from nanopoet.params import load_params
from nanopoet.recipes import load_recipe
from nanopoet.tokens.encode import encode_poems
from nanopoet.tokens.tokenizer import CharTokenizer
from nanopoet.training.pretraining import build_model
from tests.support.poems import make_poems
from tests.support.project import DEFAULT_PARAMS, ROOT


@pytest.fixture
def model() -> GPTLanguageModel:
    return GPTLanguageModel(30, 16, 8, 2, 2, 0.1, generator=torch.Generator().manual_seed(0))


def test_the_notebook_s_logits_are_the_classic_model_s(model: GPTLanguageModel) -> None:
    idx = torch.randint(30, (3, 8))
    torch.testing.assert_close(notebook.logits(model.eval(), idx), model(idx)[0])


def test_the_notebook_s_step_learns_and_its_loop_generates(model: GPTLanguageModel) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    idx, targets = torch.randint(30, (2, 4, 8))
    losses = [notebook.train_step(model, optimizer, idx, targets) for _ in range(30)]
    assert losses[-1] < losses[0] - 0.5
    assert notebook.generate(model.eval(), idx, 10).shape == (4, 18)


def test_flops_count_the_matmuls() -> None:
    params = load_params(DEFAULT_PARAMS).pretrain
    changes = {"layer_num": 1, "emb_size": 8, "mlp_size": 4, "block_size": 16, "head_num": 2}
    small = params.model_copy(update=changes)
    weights = 4 * 8 * 8 + 3 * 8 * 4 + 11_868 * 8
    model = build_model(11_868, small)
    assert flops_per_token(model) == 6 * weights + 12 * 8 * 16 / 2


def test_the_held_out_poems_are_not_trained_on() -> None:
    poems = make_poems(100)
    tokenizer = CharTokenizer(poems)
    train, dev = hold_out(encode_poems(poems, tokenizer, separate=True))
    expected = [i for i in range(100) if i % 20 == 10]
    chosen = encode_poems([poems[i] for i in expected], tokenizer, separate=True)
    np.testing.assert_array_equal(dev.tokens, chosen.tokens)
    np.testing.assert_array_equal(dev.offsets, chosen.offsets)
    rest = [poem for i, poem in enumerate(poems) if i not in expected]
    np.testing.assert_array_equal(train.tokens, encode_poems(rest, tokenizer, separate=True).tokens)


def test_a_trial_changes_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    params = changed_params(["pretrain.lr=3e-4", "encode.separators=false"])
    assert params.pretrain.lr == 3e-4
    assert not params.encode.separators
    small = changed_params(["pretrain.dropout=0.2"], "small").pretrain
    assert small == load_recipe("small")[0].pretrain.model_copy(update={"dropout": 0.2})
    for change in ("lr=1", "pretrain", "train.lr=1"):
        with pytest.raises(NanopoetError, match="is not a change; write section"):
            changed_params([change])
    with pytest.raises(NanopoetError, match=r"pretrain\.rate is unknown"):
        changed_params(["pretrain.rate=1"])


def test_the_time_to_a_loss_is_that_of_the_first_evaluation_below_it() -> None:
    curve = [{"seconds": float(i), "loss_val": loss} for i, loss in enumerate([9, 6.1, 5.9, 5.6])]
    assert time_to_loss.seconds_to(curve, 6.0) == 2.0
    assert time_to_loss.seconds_to(curve, 5.5) is None


def test_operations_have_the_kind_of_their_caller() -> None:
    x = torch.ones(300, 300)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        x @ x
        with record_function("sampling"):
            x @ x
        x + x
    found = kinds(list(profiler.events()), GENERATION)
    assert set(found) == {"matmuls with weights", "sampling", REST}
    assert min(found.values()) > 0


@pytest.mark.process
def test_a_missing_archive_is_an_error_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench"]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == (
        "error: bench: raw/chinese-poetry.tgz does not exist; run `dvc repro fetch`\n"
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.process
def test_peak_memory_is_that_of_the_process_alone() -> None:
    """The memory of a large parent process, as in Linux's ru_maxrss, does not count."""
    ballast = np.ones(100_000_000)  # 800 MB
    script = "from bench.memory import peak_bytes; print(peak_bytes())"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert 0 < int(done.stdout) < ballast.nbytes / 4 < peak_bytes()
