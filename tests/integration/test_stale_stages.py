"""A changed parameter reruns the stages that read it, and no others."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from dvc.repo import Repo

from nanopoet.corpus.poems import write_poems
from nanopoet.param_sections import PenaltyParams
from nanopoet.params import load_params
from tests.support.params import SMALL
from tests.support.poems import make_poems
from tests.support.project import ROOT, Project

STALE: dict[str, tuple[object, str]] = {
    "fetch.package": ("other", "fetch"),
    "fetch.version": ("2.0.2", "fetch"),
    "fetch.integrity": ("sha512-" + "A" * 86 + "==", "fetch"),
    "load.source": ("other.jsonl", "load"),
    "load.script": ("traditional", "load"),
    "split.val_every": (5, "split"),
    "split.duplicates": ("together", "split"),
    "encode.separators": (False, "encode"),
    "pretrain.architecture": ("classic", "pretrain finetune reinforce"),
    "pretrain.emb_size": (32, "pretrain finetune reinforce"),
    "pretrain.block_size": (16, "pretrain finetune reinforce"),
    "pretrain.layer_num": (1, "pretrain finetune reinforce"),
    "pretrain.head_num": (4, "pretrain finetune reinforce"),
    "pretrain.kv_head_num": (2, "pretrain finetune reinforce"),
    "pretrain.previous_token_heads": ([], "pretrain finetune reinforce"),
    "pretrain.initial_weights": ("random", "pretrain finetune reinforce"),
    "pretrain.mlp_size": (16, "pretrain finetune reinforce"),
    "pretrain.dropout": (0.1, "pretrain finetune reinforce"),
    "pretrain.max_steps": (7, "pretrain finetune reinforce"),
    "pretrain.batch_size": (2, "pretrain finetune reinforce"),
    "pretrain.micro_batch_size": (1, "pretrain finetune reinforce"),
    "pretrain.activation_checkpointing": (True, "pretrain finetune reinforce"),
    "pretrain.windows": ("random", "pretrain finetune reinforce"),
    "pretrain.optimizer": ("adamw", "pretrain finetune reinforce"),
    "pretrain.lr": (1e-3, "pretrain finetune reinforce"),
    "pretrain.embedding_lr": (1e-3, "pretrain finetune reinforce"),
    "pretrain.character_features": ([], "pretrain finetune reinforce"),
    "pretrain.feature_lr_factor": (2.0, "pretrain finetune reinforce"),
    "pretrain.rhyme_weight": (1.0, "pretrain finetune reinforce"),
    "pretrain.rhyme_distinct_weight": (1.0, "pretrain finetune reinforce"),
    "pretrain.muon_lr": (1e-3, "pretrain finetune reinforce"),
    "pretrain.muon_momentum": (0.5, "pretrain finetune reinforce"),
    "pretrain.beta1": (0.5, "pretrain finetune reinforce"),
    "pretrain.beta2": (0.9, "pretrain finetune reinforce"),
    "pretrain.warmup_steps": (2, "pretrain finetune reinforce"),
    "pretrain.decay": (0.25, "pretrain finetune reinforce"),
    "pretrain.weight_decay": (0.1, "pretrain finetune reinforce"),
    "pretrain.eval_every": (3, "pretrain finetune reinforce"),
    "pretrain.eval_windows": (2, "pretrain finetune reinforce"),
    "pretrain.sample_prompts": (["山"], "pretrain finetune reinforce"),
    "pretrain.sample_length": (10, "pretrain finetune reinforce"),
    "pretrain.checkpoint_every": (5, "pretrain finetune reinforce"),
    "pretrain.log_model_every": (2, "pretrain finetune reinforce"),
    "pretrain.torchrun": ("--standalone --nproc-per-node 2", "pretrain finetune reinforce"),
    "pretrain.device": ("auto", "pretrain finetune reinforce"),
    "pretrain.precision": ("auto", "pretrain finetune reinforce"),
    "pretrain.compile": ("on", "pretrain finetune reinforce"),
    "pretrain.seed": (1, "pretrain finetune reinforce"),
    "finetune.field_dropout": (0.25, "finetune"),
    "finetune.loss_on": ("all", "finetune"),
    "finetune.shape_weight": (0.0, "finetune"),
    "finetune.rhyme_weight": (0.0, "finetune"),
    "finetune.rhyme_distinct_weight": (0.0, "finetune"),
    "finetune.title_weight": (0.0, "finetune"),
    "finetune.repeat_weight": (0.0, "finetune"),
    "finetune.max_steps": (7, "finetune"),
    "finetune.batch_size": (2, "finetune"),
    "finetune.lr": (1e-3, "finetune"),
    "finetune.embedding_lr": (1e-3, "finetune"),
    "finetune.muon_lr": (1e-3, "finetune"),
    "finetune.warmup_steps": (2, "finetune"),
    "finetune.decay": (0.25, "finetune"),
    "finetune.eval_every": (3, "finetune"),
    "finetune.eval_windows": (2, "finetune"),
    "finetune.sample_requests": ([{"author": "", "style": "", "title": "山"}], "finetune"),
    "finetune.sample_length": (10, "finetune"),
    "finetune.checkpoint_every": (5, "finetune"),
    "finetune.seed": (1, "finetune"),
    "reinforce.penalties": (
        dict.fromkeys(PenaltyParams.model_fields, 0.5),
        "reinforce",
    ),
    "reinforce.kl_weight": (0.125, "reinforce"),
    "reinforce.field_dropout": (0.25, "reinforce"),
    "reinforce.max_steps": (7, "reinforce"),
    "reinforce.batch_size": (12, "reinforce"),
    "reinforce.optimizer": ("muon", "reinforce"),
    "reinforce.lr": (0.5, "reinforce"),
    "reinforce.muon_lr": (0.5, "reinforce"),
    "reinforce.muon_momentum": (0.5, "reinforce"),
    "reinforce.feature_lr_factor": (2.0, "reinforce"),
    "reinforce.warmup_steps": (2, "reinforce"),
    "reinforce.decay": (0.25, "reinforce"),
    "reinforce.eval_every": (3, "reinforce"),
    "reinforce.eval_windows": (2, "reinforce"),
    "reinforce.sample_requests": ([{"author": "", "style": "", "title": "山"}], "reinforce"),
    "reinforce.sample_length": (10, "reinforce"),
    "reinforce.checkpoint_every": (5, "reinforce"),
    "reinforce.seed": (1, "reinforce"),
    "baseline.order": (3, "baseline evaluate evaluate_finetuned evaluate_reinforced"),
    "evaluate.context": (4, "evaluate evaluate_finetuned evaluate_reinforced"),
    "evaluate.batch_size": (2, "evaluate evaluate_finetuned evaluate_reinforced"),
    "evaluate.sample_count": (3, "baseline evaluate evaluate_finetuned evaluate_reinforced"),
    "evaluate.sample_length": (9, "baseline evaluate evaluate_finetuned evaluate_reinforced"),
    "evaluate.device": ("auto", "evaluate evaluate_finetuned evaluate_reinforced"),
    "evaluate.precision": ("auto", "evaluate evaluate_finetuned evaluate_reinforced"),
    "evaluate.temperature": (0.5, "evaluate evaluate_finetuned evaluate_reinforced"),
    "evaluate.seed": (1, "baseline evaluate evaluate_finetuned evaluate_reinforced"),
}
"""Parameter → another value, and the stages that become stale at once.

The stages after them run if their inputs differ.
"""

ALWAYS = {"fetch"}
"""It never ran here, because the corpus is the user's own."""


def test_the_table_names_every_leaf() -> None:
    params = load_params(ROOT / "params.yaml").model_dump()
    assert set(STALE) == {f"{section}.{leaf}" for section in params for leaf in params[section]}


@pytest.fixture(scope="module")
def stages(project: Project) -> Iterator[Sequence[Any]]:
    """The stages as DVC reads them once; to read them takes as long as to compare them."""
    with Repo(str(project.folder)) as repo:
        yield repo.index.stages


@pytest.mark.parametrize("leaf", STALE)
def test_a_parameter_makes_its_stage_stale(
    unchanged: Project, stages: Sequence[Any], leaf: str
) -> None:
    value, expected = STALE[leaf]
    section, name = leaf.split(".")
    write_poems(unchanged.folder / "other.jsonl", make_poems(40, seed=2))
    unchanged.set(**{section: {name: value}})
    load_params(unchanged.folder / "params.yaml")
    # dvc.yaml names the source of the corpus as a dependency.
    stale = _stale(unchanged) if leaf == "load.source" else _changed(stages)
    assert stale == ALWAYS | set(expected.split())


def test_without_a_change_no_stage_is_stale(unchanged: Project) -> None:
    assert _stale(unchanged) == ALWAYS


def _stale(project: Project) -> set[str]:
    """Name the stages that DVC would run."""
    with Repo(str(project.folder)) as repo:
        return _changed(repo.index.stages)


def _changed(stages: Sequence[Any]) -> set[str]:
    """Name those of some stages that DVC would run, by the files as they are now."""
    with stages[0].repo.lock:
        return {stage.name for stage in stages if stage.status(check_updates=True)}


def test_a_change_reruns_what_follows_and_undoing_it_runs_nothing(unchanged: Project) -> None:
    before, runs_before = unchanged.metrics("evaluate"), len(unchanged.tracked())
    original = (unchanged.folder / "params.yaml").read_bytes()
    unchanged.set(pretrain={"lr": 1e-3})
    assert unchanged.repro() == ["pretrain", "evaluate", "report"]
    assert unchanged.metrics("evaluate") != before
    runs = unchanged.tracked()
    assert len(runs) == runs_before + 1
    assert runs[-1]["params"]["pretrain.lr"] == "0.001"

    (unchanged.folder / "params.yaml").write_bytes(original)
    assert unchanged.repro() == []
    assert unchanged.metrics("evaluate") == before

    # `evaluate` alone is stale. Params of an MLflow run cannot change, so it makes another run.
    unchanged.set(evaluate={"seed": 5})
    assert unchanged.repro() == ["baseline", "evaluate", "report"]
    # Run again, as after a lost metrics file, it finds that run.
    assert unchanged.run("stages.evaluate").returncode == 0
    runs = unchanged.tracked()
    assert len(runs) == runs_before + 2
    assert runs[-1]["params"]["evaluate.seed"] == "5"
    assert runs[-1]["train"] == list(range(SMALL["pretrain"]["max_steps"]))


@pytest.mark.slow
def test_a_recipe_runs_beside_the_workspace(unchanged: Project) -> None:
    folder, before = unchanged.folder, unchanged.metrics("pretrain")
    runs_before = len(unchanged.tracked())
    recipes = "quick: {pretrain: {max_steps: 3, optimizer: adamw}, encode: {separators: false}}"
    (folder / "recipes.yaml").write_text(recipes, encoding="utf-8")
    unchanged.commit()
    done = unchanged.run("tools.run_recipe", "quick")
    assert done.returncode == 0, done.stdout + done.stderr
    assert unchanged.metrics("pretrain") == before
    assert _stale(unchanged) == {"fetch"}
    *_, run = unchanged.tracked()
    assert len(unchanged.tracked()) == runs_before + 1
    assert run["status"] == "FINISHED"
    assert run["params"]["pretrain.optimizer"] == "adamw"
    assert run["train"] == [0, 1, 2]
    assert "evaluate/nats_per_character" in run["metrics"]
