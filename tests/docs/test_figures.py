"""Figures in README and docs are those of docs/figures.json; `make figures` collects them."""

import copy
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nanopoet.common.errors import NanopoetError
from tools import figures
from tools.figure_blocks import BLOCKS
from tools.figure_format import format_value

ROOT = Path(__file__).parents[2]
PAGES = figures.pages(ROOT)


@pytest.fixture
def reference() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((ROOT / figures.REFERENCE).read_text(encoding="utf-8"))
    return content


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_has_the_figures_of_the_reference(path: Path, reference: dict[str, Any]) -> None:
    page = path.read_text(encoding="utf-8")
    assert figures.render(page, reference) == page, "run `make figures`"


def test_a_changed_figure_changes_the_pages(reference: dict[str, Any]) -> None:
    changed = copy.deepcopy(reference)
    changed["default"]["evaluate"]["nats_per_character"] = 1.2345
    changed["load"]["poems"] = 7
    stale = set()
    for path in PAGES:
        page = path.read_text(encoding="utf-8")
        if (filled := figures.render(page, changed)) != page:
            stale.add(path.name)
            assert figures.render(filled, reference) == page
    assert {"README.md", "README.zh.md", "evaluation.md", "data.md"} <= stale


def test_the_reference_names_where_its_figures_come_from(reference: dict[str, Any]) -> None:
    assert list(reference)[:4] == ["default", "notebook", "evening", "small"]
    for name in ("default", "notebook", "evening", "small"):
        measured = reference[name]["measured"]
        assert len(measured["commit"]) == 7
        assert format_value(measured["machine"], "machine")


def test_the_default_and_the_notebook_see_as_many_tokens(reference: dict[str, Any]) -> None:
    """Docs compare the two at equal training tokens."""
    assert reference["default"]["pretrain"]["tokens"] == reference["notebook"]["pretrain"]["tokens"]


def test_the_notebook_s_curve_is_that_of_the_original(reference: dict[str, Any]) -> None:
    from tools.figure_blocks import NOTEBOOK_LOSSES

    curve = reference["notebook"]["loss_val"]
    ours = {step: curve[str(step)] for step in NOTEBOOK_LOSSES}
    assert ours == pytest.approx(NOTEBOOK_LOSSES, abs=0.05)


@pytest.mark.parametrize("name", [*BLOCKS, "poem-default"])
def test_a_block_is_filled_and_stays(name: str, reference: dict[str, Any]) -> None:
    page = f"before\n<!-- figures: {name} -->\nstale words\n<!-- /figures -->\nafter\n"
    filled = figures.render(page, reference)
    assert "stale words" not in filled
    assert filled.startswith(f"before\n<!-- figures: {name} -->\n")
    assert filled.endswith("\n<!-- /figures -->\nafter\n")
    assert figures.render(filled, reference) == filled


@pytest.mark.parametrize(
    ("marker", "expected"),
    [
        ("a.b ,", "1,234"),
        ("a.b", "1234"),
        ("a.share .1%", "12.3%"),
        ("a.none .1%", "–"),
        ("a.share time", "0 seconds"),
        ("a.b time", "21 minutes"),
        ("a.long time", "3.8 hours"),
        ("a.b time-zh", "21 分钟"),
        ("a.machine machine", "2 cores without bf16"),
        ("a.machine machine-zh", "2 核、无 bf16"),
    ],
)
def test_a_number_is_written_as_asked(marker: str, expected: str) -> None:
    machine = {"device": "cpu", "cores": 2, "bf16": None}
    values = {"a": {"b": 1234, "long": 13_700, "share": 0.123, "none": None, "machine": machine}}
    page = f"| x <!-- fig: {marker} -->old<!-- /fig --> y | <!-- fig: a.b -->0<!-- /fig --> |\n"
    filled = figures.render(page, values)
    assert f"<!-- fig: {marker} -->{expected}<!-- /fig --> y | <!-- fig: a.b -->1234<" in filled


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("x <!-- fig: a.c -->0<!-- /fig -->", "has no a.c; c may be b"),
        ("x <!-- fig: a.b.c -->0<!-- /fig -->", "c may be nothing"),
        ("x <!-- fig: a -->0<!-- /fig -->", "not one value"),
        ("x <!-- fig: a.b times -->0<!-- /fig -->", "Invalid format specifier"),
        ("x <!-- fig: a.b -->0", "has no partner"),
        ("0<!-- /fig -->", "has no partner"),
        ("x <!-- fig: a.b -->\n0<!-- /fig -->", "has no partner"),
        ("x <!-- fig:a.b -->0<!-- /fig -->", "has no partner"),
        ("<!-- fig: a.b -->0<!-- /fig -->", "no line may begin"),
        ("<!-- figures: verse -->\n", "has no partner"),
        ("<!-- /figures -->\n", "has no partner"),
        ("<!-- figures: nonsense -->\n<!-- /figures -->\n", "no such block"),
        ("<!-- figures: poem-a -->\n<!-- /figures -->\n", "has no poem"),
        (
            "<!-- figures: verse -->\n<!-- figures: verse -->\n<!-- /figures -->\n",
            "stands inside of the block",
        ),
    ],
)
def test_a_wrong_marker_is_named(page: str, message: str) -> None:
    with pytest.raises(NanopoetError, match=message):
        figures.render(page, {"a": {"b": 1, "poem": None}} if "poem" in page else {"a": {"b": 1}})


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: dict[str, Any]) -> Path:
    """A repository with the figures of a training, and pages to fill."""
    shutil.copy(ROOT / "recipes.yaml", tmp_path)
    texts = {f"metrics/{stage}.json": json.dumps(reference[stage]) for stage in figures.STAGES}
    for stage in ("pretrain", "evaluate"):
        texts[f"metrics/{stage}.json"] = json.dumps(reference["default"][stage])
    texts |= {
        figures.PRETRAINED.curve: "step,tokens,loss_val\n0,2048,9.10391\n10,20480,8.2\n",
        figures.PRETRAINED.samples: "床前明月光\n\n白日依山盡\n",
        "README.md": "loss <!-- fig: default.evaluate.nats_per_character .2f -->0<!-- /fig -->\n",
        "README.zh.md": "",
        "docs/data.md": "",
        "docs/requests.json": json.dumps(reference["requests"]),
        "metrics/reader.json": "{}",
    }
    for path, text in texts.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    _git("init", "--quiet")
    _git("add", ".")
    _git("commit", "--quiet", "--message", "A training")
    return tmp_path


def _git(*arguments: str) -> str:
    name = ["-c", "user.name=Li Bai", "-c", "user.email=libai@example.com"]
    done = subprocess.run(["git", *name, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_figures_of_the_workspace_name_commit_and_machine(workspace: Path) -> None:
    found = figures.collect({})
    assert list(found) == ["default", "requests", "reader", *figures.STAGES]
    default = found["default"]
    assert default["measured"]["commit"] == _git("rev-parse", "HEAD")[:7]
    assert default["measured"]["machine"]["device"]
    assert default["measured"]["seconds"] is None
    assert default["loss_val"] == {"0": 9.1039, "10": 8.2}
    assert default["poem"] == "床前明月光"
    assert "verse" in default["evaluate"]
    assert "nats_by_position" not in default["evaluate"]
    assert workspace == Path.cwd()


@pytest.mark.parametrize("name", figures.FURTHER)
def test_a_further_model_has_an_entry_if_it_is_there_and_else_keeps_it(
    workspace: Path, name: str
) -> None:
    kept, stage = {"measured": {"commit": "def5678"}}, figures.FURTHER[name]
    assert name not in figures.collect({})
    assert figures.collect({name: kept})[name] == kept
    texts = {
        f"metrics/{stage}.json": '{"tokens": 7}',
        f"metrics/evaluate_{name}.json": '{"nats_per_character": 4.5, "perplexity": 90}',
        f"models/{name}/evaluations.csv": "step,tokens,loss_val\n0,2048,4.7\n",
        f"data/samples_{name}.txt": "白日依山盡\n",
    }
    for path, text in texts.items():
        (workspace / path).parent.mkdir(parents=True, exist_ok=True)
        (workspace / path).write_text(text, encoding="utf-8")
    found = figures.collect({name: kept})[name]
    assert found["measured"]["commit"] == _git("rev-parse", "HEAD")[:7]
    assert found[stage] == {"tokens": 7}
    assert found["evaluate"]["nats_per_character"] == 4.5
    assert found["poem"] == "白日依山盡"


def test_unchanged_figures_keep_the_commit_that_they_name(workspace: Path) -> None:
    known = figures.collect({})
    known["default"]["measured"]["commit"] = "abc1234"
    known["small"] = {"measured": {"commit": "def5678"}}
    assert figures.collect(known) == known
    path = workspace / "metrics/pretrain.json"
    path.write_text(path.read_text(encoding="utf-8").replace("8831744", "8831745"))
    again = figures.collect(known)
    assert again["default"]["measured"]["commit"] == _git("rev-parse", "HEAD")[:7]
    assert again["small"] == known["small"]


def test_make_figures_fills_the_pages(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures.main()
    assert "changed pages: README.md\n" in capsys.readouterr().out
    filled = (workspace / "README.md").read_text(encoding="utf-8")
    reference = json.loads((workspace / figures.REFERENCE).read_text(encoding="utf-8"))
    assert f">{reference['default']['evaluate']['nats_per_character']:.2f}<" in filled
    figures.main()
    assert "changed pages: none\n" in capsys.readouterr().out


def test_a_wrong_page_leaves_all_files_alone(workspace: Path) -> None:
    (workspace / "docs/data.md").write_text("x <!-- fig: load.poem -->0<!-- /fig -->\n")
    with pytest.raises(NanopoetError, match=r"docs/data\.md: .* has no load\.poem"):
        figures.main()
    assert not (workspace / figures.REFERENCE).exists()
    assert ">0<" in (workspace / "README.md").read_text(encoding="utf-8")


def test_a_missing_figure_is_named(workspace: Path) -> None:
    (workspace / figures.PRETRAINED.samples).unlink()
    with pytest.raises(NanopoetError, match=r"data/samples\.txt: no such file; run `make repro`"):
        figures.collect({})


def test_figures_of_version_0_1_are_named(workspace: Path) -> None:
    (workspace / "metrics/evaluate.json").write_text(
        '{"nats_per_character": 4.6}', encoding="utf-8"
    )
    with pytest.raises(NanopoetError, match=r"written by version 0\.1"):
        figures.collect({})


@pytest.mark.process
def test_figures_of_a_recipe_are_those_of_its_newest_experiment(workspace: Path) -> None:
    dvc = [sys.executable, "-m", "dvc", "init", "--quiet"]
    subprocess.run(dvc, check=True)
    _git("add", ".")
    _git("commit", "--quiet", "--message", "DVC")
    start = _git("rev-parse", "HEAD")
    path = workspace / "metrics/pretrain.json"
    original = path.read_text(encoding="utf-8")
    for day, parameters in (("2026-01-02", "222"), ("2026-01-01", "111")):
        path.write_text(original.replace("8831744", parameters), encoding="utf-8")
        _git("add", ".")
        os.environ["GIT_COMMITTER_DATE"] = f"{day}T00:00:00Z"
        _git("commit", "--quiet", "--message", "experiment")
        del os.environ["GIT_COMMITTER_DATE"]
        base = start if parameters == "222" else "f" * 40
        _git("update-ref", f"refs/exps/{base[:2]}/{base[2:]}/notebook", "HEAD")
        _git("reset", "--hard", "--quiet", start)
    found = figures.collect({})
    assert found["notebook"]["pretrain"]["parameters"] == 222
    assert found["notebook"]["measured"]["commit"] == start[:7]
    assert found["default"]["pretrain"]["parameters"] == 8_831_744


@pytest.mark.process
def test_the_time_is_that_of_the_run_with_the_same_loss(workspace: Path) -> None:
    """In a process of its own, as MLflow's engines outlive a test."""
    script = """
import os
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
import json, mlflow
from tools import figures
client = mlflow.MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
nats = json.load(open("metrics/evaluate.json"))["nats_per_character"]
for loss, rate in ((nats + 0.001, 500.0), (nats, 20_000.0)):
    run = client.create_run("0")
    client.log_metric(run.info.run_id, "evaluate/nats_per_character", loss)
    client.log_metric(run.info.run_id, "tokens_per_second", rate)
print(figures.collect({})["default"]["measured"]["seconds"])
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=workspace,
        env=os.environ
        | {
            "PYTHONPATH": str(ROOT),
            "MLFLOW_TRACKING_URI": (workspace / "mlruns").as_uri(),
            "MLFLOW_ALLOW_FILE_STORE": "true",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip().splitlines()[-1:] == ["82"], done.stderr
