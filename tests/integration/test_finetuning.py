"""The stages after `report`: a model that takes fields, its run in MLflow and its report."""

import re

import pytest

from nanopoet.models.checkpoint import load_model
from tests.support.killed import check_a_killed_training
from tests.support.params import FINETUNING, SMALL
from tests.support.project import Project

STEPS = SMALL["finetune"]["max_steps"]


def test_a_model_that_takes_fields_comes_out(project: Project) -> None:
    pretrained, _ = load_model(project.folder / "models/poet")
    finetuned, _ = load_model(project.folder / "models/finetuned")
    assert not pretrained.takes_fields
    assert finetuned.takes_fields
    metrics = project.metrics("finetune")
    assert metrics["steps"] == STEPS
    assert metrics["parameters"] == project.metrics("pretrain")["parameters"]


def test_its_figures_are_complete(project: Project) -> None:
    figures = project.metrics("evaluate_finetuned")
    given = figures["nats_per_character_given"]
    assert list(given) == ["nothing", "author", "style", "title", "all"]
    forms = {"五言绝句", "七言绝句", "五言律诗", "七言律诗", "mean"}
    assert set(figures["asked"]["model"]) == forms
    assert figures["tunes"]["tunes"] == 4  # 樂府0 to 樂府3
    assert figures["authors"]["commonest"] == 1.0  # all poems are by 無名
    assert figures["titles"]["human"] == 0.0


def test_its_run_is_below_the_run_of_the_pretrained_model(project: Project) -> None:
    first, second, _ = project.tracked()
    assert second["tags"]["mlflow.parentRunId"] == first["id"]
    assert second["name"].startswith("finetune: ")
    assert second["status"] == "FINISHED"
    assert second["train"] == list(range(STEPS))
    assert second["params"]["finetune.max_steps"] == str(STEPS)
    assert second["params"]["pretrain.emb_size"] == first["params"]["pretrain.emb_size"]
    nats = project.metrics("evaluate_finetuned")["nats_per_character"]
    assert second["metrics"]["evaluate/nats_per_character"] == pytest.approx(nats)
    assert {"samples.json", "samples.txt", "history.csv", "report.html"} <= set(second["files"])
    assert second["pictures"] == ["plots/loss.svg", "plots/loss_given.svg"]
    samples = project.folder / "models/finetuned/samples.json"
    assert "無名 樂府1" in samples.read_text(encoding="utf-8")


def test_its_report_has_both_models_side_by_side(project: Project) -> None:
    page = (project.folder / "report/finetuned.html").read_text(encoding="utf-8")
    text = re.sub(r"<svg.*?</svg>|<[^>]+>", " ", page, flags=re.S)
    both = [project.metrics(name)["verse"]["model"] for name in ("evaluate", "evaluate_finetuned")]
    cells = r"\s+".join(f"{verse['distinct_1']:.3f}" for verse in both)
    assert re.search(rf"different characters of all\s+distinct-1\s+{cells}", text)
    assert "無名 樂府" in text
    assert not re.search(r"<script|url\((?!#)|@import|<img", page)


def test_the_summary_says_how_often_the_form_came(project: Project) -> None:
    text = project.run("tools.summary", "finetune").stdout
    for part in ("models/finetuned/", "perplexity", "for a form", "finetune ", "finetuned.html"):
        assert part in text


def test_what_make_repro_asks_for_leaves_the_finetuning_out(unchanged: Project) -> None:
    unchanged.set(finetune={"lr": 1e-3})
    assert unchanged.repro() == []
    assert unchanged.repro(FINETUNING[-1]) == FINETUNING


def test_a_killed_finetuning_ends_with_the_same_weights(own: Project) -> None:
    steps = {"max_steps": 60, "checkpoint_every": 20, "eval_every": 20}
    own.set(pretrain={"max_steps": 5, "log_model_every": 20}, finetune=steps)
    assert own.run("stages.pretrain").returncode == 0
    check_a_killed_training(own, "finetune", "finetuned", step=45)
    models = own.tracked()[-1]["models"]
    assert [model["step"] for model in models] == [20, 40, 59]
    script = f"""
import mlflow, pandas as pd
mlflow.set_tracking_uri("sqlite:///mlflow.db")
model = mlflow.pyfunc.load_model("models:/{models[0]["id"]}")
asked = pd.DataFrame([{{"prompt": "春", "form": "樂府1", "author": "無名"}}])
[poem] = model.predict(asked)["poem"]
assert poem[0] == "春", poem
"""
    (own.folder / "tests_load.py").write_text(script)
    done = own.run("tests_load")
    assert done.returncode == 0, done.stderr
