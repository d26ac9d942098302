"""The whole pipeline on a small corpus, with real processes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nanopoet.common.yaml import read_yaml
from nanopoet.corpus.poems import write_poems
from nanopoet.params import load_params
from tests.support.params import FINETUNING, REINFORCEMENT, SMALL, STAGES
from tests.support.poems import make_poems
from tests.support.project import Project

TOTAL_STEPS = SMALL["pretrain"]["max_steps"]


def test_figures_agree_with_the_corpus(project: Project) -> None:
    poems = make_poems(300)
    characters = sum(len(poem["content"]) for poem in poems)
    assert project.metrics("load")["poems"] == 300
    assert project.metrics("load")["content_characters"] == characters
    assert project.metrics("split")["val_poems"] == 30
    duplicates = json.loads(
        (project.folder / "data/val_duplicates.json").read_text(encoding="utf-8")
    )
    assert duplicates == [None] * 30
    encode = project.metrics("encode")
    assert encode["train_characters"] + encode["val_characters"] == characters
    assert encode["train_tokens"] + encode["val_tokens"] == characters + len(poems)
    assert project.metrics("evaluate")["val_characters"] == encode["val_characters"]
    pretrain = project.metrics("pretrain")
    assert pretrain["steps"] == TOTAL_STEPS
    assert project.metrics("evaluate")["nats_per_character"] == pytest.approx(
        pretrain["loss_val"], abs=0.2
    )


def test_a_second_time_nothing_runs(project: Project) -> None:
    assert project.repro() == []


def test_the_summary_states_loss_and_poem(project: Project) -> None:
    text = project.run("tools.summary").stdout
    for part in ("models/poet/", "val ", "perplexity", "pretrain ", "make ui", "a poem\n  "):
        assert part in text


def test_the_run_is_tracked(project: Project) -> None:
    run = project.tracked()[0]
    assert run["status"] == "FINISHED"
    params = load_params(project.folder / "params.yaml").model_dump()
    assert run["params"] == {
        f"{section}.{leaf}": str(value)
        for section, leaves in params.items()
        if section not in ("finetune", "reinforce")
        for leaf, value in leaves.items()
        if leaf != "log_model_every"  # it decides nothing
    }
    assert [step for step, _ in run["val"]] == [0, 2, 4, 5]
    assert run["train"] == list(range(TOTAL_STEPS))
    assert run["val"][-1][1] == pytest.approx(project.metrics("pretrain")["loss_val"])
    assert [name for name, _ in run["inputs"]] == ["poems/train", "poems/val", "vocabulary"]
    assert {"samples.json", "samples.txt", "history.csv", "report.html"} <= set(run["files"])
    assert run["pictures"] == ["plots/loss.svg", "plots/loss_by_form.svg"]
    assert run["metrics"]["evaluate/nats_per_character"] == pytest.approx(
        project.metrics("evaluate")["nats_per_character"]
    )


def test_the_tracked_model_writes_poems_elsewhere(project: Project, tmp_path: Path) -> None:
    """The folder and the process know nothing of the project."""
    run, finetuning = project.tracked()[:2]
    script = f"""
import mlflow, pandas as pd, sys
mlflow.set_tracking_uri("sqlite:///{project.folder / "mlflow.db"}")
asked = pd.DataFrame([{{"prompt": "春", "form": "樂府1", "author": "無名", "keywords": ["山"]}}])
finetuned = mlflow.pyfunc.load_model("models:/{finetuning["models"][0]["id"]}")
[poem] = finetuned.predict(asked)["poem"]
assert poem[0] == "春" and "山" in poem, poem
assert [poem[i] in "，。" for i in range(24)] == [i % 6 == 5 for i in range(24)], poem
model = mlflow.pyfunc.load_model("models:/{run["models"][0]["id"]}")
prompts = pd.DataFrame({{"prompt": ["春", ""]}})
first = model.predict(prompts, params={{"max_new_tokens": 5, "seed": 1, "count": 2}})
again = model.predict(prompts, params={{"max_new_tokens": 5, "seed": 1, "count": 2}})
assert first.equals(again), (first, again)
assert list(first["prompt"]) == ["春", "春", "", ""], first
poems = list(first["poem"])
assert all(p.startswith("春") and len(p) <= 6 for p in poems[:2]), poems
assert all(len(p) <= 5 for p in poems[2:]), poems
assert "B" not in "".join(poems), poems
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_no_pickle_is_written(project: Project) -> None:
    names = [file.name for file in project.folder.rglob("*") if ".git" not in file.parts]
    assert "model.safetensors" in names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".pt", ".pth"))]


def test_elsewhere_it_gives_the_same_bytes(project: Project, tmp_path: Path) -> None:
    """Folder, locale, time zone, umask, hash seed and terminal width do not change an out."""
    elsewhere = Project(tmp_path / "另一處 with a space", load={"source": "mine.jsonl"}, **SMALL)
    write_poems(elsewhere.folder / "mine.jsonl", make_poems(300))
    elsewhere.fork(LC_ALL="C", TZ="Asia/Shanghai", PYTHONHASHSEED="1")
    elsewhere.environment |= {"COLUMNS": "40", "HOME": str(tmp_path)}
    elsewhere.umask = 0o077
    ran = elsewhere.repro("report", FINETUNING[-1], REINFORCEMENT[-1])
    assert sorted(ran) == sorted([*STAGES, *FINETUNING, *REINFORCEMENT])
    assert _outs(elsewhere) == _outs(project)


def _outs(project: Project) -> dict[str, str]:
    """Return the digest of each out of each stage."""
    lock = read_yaml(project.folder / "dvc.lock")
    outs = {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]}
    assert {"models/poet", "report/index.html", "metrics/evaluate.json"} <= set(outs)
    return outs


def test_nothing_temporary_is_left(project: Project) -> None:
    assert not list(project.folder.rglob("*.partial"))
    assert not list(project.folder.rglob(".fetch-*"))
