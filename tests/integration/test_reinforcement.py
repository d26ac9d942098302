"""The stages after the finetuning: a model that writes by the rules, its run and its report."""

import re
import shutil

import pytest

from nanopoet.models.checkpoint import load_model
from nanopoet.param_sections import PenaltyParams
from nanopoet.training.history import read_history
from tests.support.killed import check_a_killed_training
from tests.support.params import REINFORCEMENT, SMALL
from tests.support.project import Project

STEPS = SMALL["reinforce"]["max_steps"]


def test_a_model_that_takes_fields_comes_out(project: Project) -> None:
    finetuned, _ = load_model(project.folder / "models/finetuned")
    reinforced, _ = load_model(project.folder / "models/reinforced")
    assert reinforced.takes_fields
    assert reinforced.config == finetuned.config
    assert project.metrics("reinforce")["steps"] == STEPS
    catalogues = [
        (project.folder / f"models/{name}/catalogue.json").read_bytes()
        for name in ("finetuned", "reinforced")
    ]
    assert catalogues[0] == catalogues[1]


def test_its_history_has_the_reward_and_its_parts(project: Project) -> None:
    for record in read_history(project.folder / "models/reinforced"):
        parts = [value for name, value in record.figures.items() if name.startswith("reward_")]
        assert len(parts) == len(PenaltyParams.model_fields)
        assert record.figures["reward"] == pytest.approx(sum(parts))
        assert record.figures["length"] > 1
        difference = record.figures["loss_reference"] - record.loss_train
        assert record.figures["kl"] == pytest.approx(difference)


def test_its_figures_are_complete(project: Project) -> None:
    figures, finetuned = (
        project.metrics(f"evaluate_{name}") for name in ("reinforced", "finetuned")
    )
    assert figures.keys() == finetuned.keys()
    forms = {"五言绝句", "七言绝句", "五言律诗", "七言律诗", "mean"}
    assert set(figures["asked"]["model"]) == forms
    assert figures["asked"]["human"]["mean"]["form"] == 1
    assert figures["verse"]["model"]["reader_ngram"] > 0


def test_its_run_is_below_the_run_of_the_finetuned_model(project: Project) -> None:
    _, second, third = project.tracked()
    assert third["tags"]["mlflow.parentRunId"] == second["id"]
    assert third["name"].startswith("reinforce: ")
    assert third["train"] == list(range(STEPS))
    assert third["params"]["reinforce.max_steps"] == str(STEPS)
    assert {"reward", "reward_tone", "kl"} <= set(third["metrics"])
    assert third["pictures"] == ["plots/loss.svg", "plots/loss_given.svg"]


def test_its_report_has_all_models_side_by_side(project: Project) -> None:
    page = (project.folder / "report/reinforced.html").read_text(encoding="utf-8")
    text = re.sub(r"<svg.*?</svg>|<[^>]+>", " ", page, flags=re.S)
    names = ("evaluate", "evaluate_finetuned", "evaluate_reinforced")
    all_three = [project.metrics(name)["verse"]["model"] for name in names]
    cells = r"\s+".join(f"{verse['distinct_1']:.3f}" for verse in all_three)
    assert re.search(rf"different characters of all\s+distinct-1\s+{cells}", text)
    writers = re.findall(r"<h4>(\w+)</h4>", page)
    assert writers[:4] == ["people", "pretrained", "finetuned", "reinforced"]
    assert not re.search(r"<script|url\((?!#)|@import|<img", page)


def test_the_summary_says_how_often_rules_are_kept(project: Project) -> None:
    text = project.run("tools.summary", "reinforce").stdout
    for part in ("models/reinforced/", "rhyme", "keep all tones", "reinforce ", "reinforced.html"):
        assert part in text


def test_what_came_before_is_left_alone(unchanged: Project) -> None:
    unchanged.set(reinforce={"muon_lr": 1e-3})
    assert unchanged.repro("report", "report_finetuned") == []
    assert unchanged.repro(REINFORCEMENT[-1]) == REINFORCEMENT


def test_a_killed_reinforcement_ends_with_the_same_weights(project: Project, own: Project) -> None:
    for name in ("poet", "finetuned"):
        shutil.copytree(project.folder / "models" / name, own.folder / "models" / name)
    own.set(reinforce={"max_steps": 40, "checkpoint_every": 10, "eval_every": 10})
    check_a_killed_training(own, "reinforce", "reinforced", step=25)
