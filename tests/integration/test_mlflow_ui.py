"""MLflow's UI, the served model and DVC's plots, in a real browser."""

import json
import re
import shlex
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nanopoet.corpus.poems import write_poems
from nanopoet.prosody.rules import Verse
from tests.support import browser
from tests.support.params import SMALL
from tests.support.poems import make_poems
from tests.support.project import Project
from tests.support.tracking import ask
from tools.reliability.load import serve

needs_chromium = pytest.mark.skipif(
    browser.CHROMIUM is None, reason="no Chromium here: Debian's package `chromium` has it"
)


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project with two real runs that differ in one parameter."""
    folder = tmp_path_factory.mktemp("two")
    project = Project(folder, load={"source": "mine.jsonl"}, **SMALL).fork()
    write_poems(project.folder / "mine.jsonl", make_poems(300))
    project.set(pretrain={"max_steps": 40, "eval_every": 10})
    assert project.run("tools.dvc_plots_page").returncode == 0
    project.commit()
    project.repro()
    project.commit("the first run")
    project.set(pretrain={"lr": 0.004})
    project.repro()
    yield project


NAMES = ("params.yaml at ", "lr=0.004")
"""Beginnings of the names of the two runs."""


@needs_chromium
def test_the_ui_shows_both_runs(two_runs: Project) -> None:
    first, second = two_runs.tracked()
    with (
        browser.ui(two_runs.folder, two_runs.environment) as address,
        browser.page() as (page, elsewhere),
    ):
        page.goto(address)
        for name in NAMES:
            page.get_by_text(name).first.wait_for()

        page.goto(browser.compare_address(address, [first["id"], second["id"]]))
        page.get_by_text("Comparing 2 Runs from 1 Experiment").wait_for()
        assert browser.shows_training_view(page)
        page.get_by_text("Show diff only").first.click()
        page.wait_for_function("!document.body.innerText.includes('evaluate.temperature')")
        text = page.inner_text("body")
        assert "Parameters\nShow diff only\npretrain.lr\t0.01\t0.004\nMetrics" in text

        page.goto(f"{address}&compareRunsMode=CHART")
        page.get_by_placeholder("Search metric charts").fill("loss/val")
        page.wait_for_function(  # a line through five points for each run
            "new Set([...document.querySelectorAll('path.js-line')]"
            ".map(line => line.getAttribute('d')).filter(d => d.split('L').length == 5)).size == 2"
        )
        text = page.inner_text("body")
        assert "lr=0.004 (loss/val)" in text
        assert re.search(r"params\.yaml at \w{8} \(loss/val\)", text)

        page.get_by_role("button", name="Configure charts").click()
        page.get_by_role("menu").get_by_text("Metric", exact=True).click()
        choice = page.get_by_role("menu").nth(1).get_by_text("tokens", exact=True)
        choice.wait_for()
        choice.dispatch_event("click")  # the menu is taller than the window
        page.keyboard.press("Escape")
        page.get_by_placeholder("Search metric charts").fill("loss/val")
        page.wait_for_function(
            "[...document.querySelectorAll('.js-plotly-plot')]"
            ".some(plot => /^4000$/m.test(plot.innerText) && /^tokens$/m.test(plot.innerText))"
        )  # 40 steps of 4 × 32 tokens

        page.goto(f"{address}&compareRunsMode=ARTIFACT")
        page.get_by_text("step 000000: 明月").first.wait_for()
        shown = page.inner_text("body")
        for run in (first, second):
            poem = json.loads(_artifact(address, run["id"], "samples.json"))["data"][1][1]
            assert poem.startswith("明月")
            assert poem in shown
    assert elsewhere == []


def _artifact(address: str, run_id: str, path: str) -> str:
    """Download an artifact of a run as text."""
    url = f"{address.split('/#')[0]}/get-artifact?path={path}&run_uuid={run_id}"
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310
        text: str = answer.read().decode()
    return text


@needs_chromium
def test_the_run_page_begins_with_its_description(two_runs: Project) -> None:
    run = two_runs.tracked()[-1]
    with (
        browser.ui(two_runs.folder, two_runs.environment) as address,
        browser.page() as (page, elsewhere),
    ):
        view = address.split("?")[0]
        page.goto(f"{view}/{run['id']}")
        page.get_by_text("All of validation:").wait_for()
        text = page.inner_text("body")
        assert text.index("All of validation:") < text.index("loss/train")
        assert "Differs from params.yaml as committed: pretrain.lr=0.004" in text
    assert elsewhere == []


@needs_chromium
def test_each_address_that_is_printed_opens_the_view_for_training(two_runs: Project) -> None:
    ids = [run["id"] for run in two_runs.tracked()]
    with (
        browser.links(two_runs.folder, two_runs.environment) as links,
        browser.page() as (page, elsewhere),
    ):
        for name, sign in (
            ("runs", NAMES[1]),
            ("models", "Model attributes"),
            ("compare", "Comparing 2 Runs from 1 Experiment"),
        ):
            page.goto(links[name])
            page.get_by_text(sign).filter(visible=True).first.wait_for()
            assert browser.shows_training_view(page)
        assert all(run_id in page.inner_text("body") for run_id in ids)

        page.goto(links["runs"])
        page.get_by_label("Select all runs").click()
        page.get_by_text("Compare", exact=True).click()
        page.wait_for_url("**/compare-runs**")
        page.get_by_text("Model training").click()
        page.reload()  # without a word of the view in the address
        page.get_by_text("Comparing 2 Runs from 1 Experiment").wait_for()
        assert "workflowType" not in page.url
        assert browser.shows_training_view(page)
    assert elsewhere == []


@needs_chromium
def test_the_models_tab_shows_what_was_measured_on_the_validation_poems(two_runs: Project) -> None:
    with (
        browser.links(two_runs.folder, two_runs.environment) as links,
        browser.page() as (page, elsewhere),
    ):
        page.set_viewport_size({"width": 2600, "height": 850})  # only columns in sight are drawn
        page.goto(links["models"])
        page.get_by_text("poems/val").first.wait_for()
    assert elsewhere == []


@needs_chromium
def test_the_plots_open_without_a_network(two_runs: Project) -> None:
    done = two_runs.run("dvc", "plots", "diff", "HEAD")
    assert done.returncode == 0, done.stderr
    index = two_runs.folder / "dvc_plots/index.html"
    with browser.page() as (page, elsewhere):
        page.context.set_offline(True)
        page.goto(index.as_uri())
        page.locator("canvas, svg.marks").nth(2).wait_for()
        assert page.locator("canvas, svg.marks").count() == 4
    assert elsewhere == []
    text = index.read_text(encoding="utf-8")
    for part in ("loss_train", "loss_val", '"lr"', "nats_per_character", "五言绝句"):
        assert part in text or json.dumps(part)[1:-1] in text


@pytest.fixture(scope="module")
def served(two_runs: Project) -> Iterator[str]:
    """Serve the best model with MLflow and give its address."""
    with serve(two_runs) as (address, _):
        yield address


def test_only_this_machine_reaches_the_served_model_and_the_ui(
    two_runs: Project, served: str
) -> None:
    with browser.ui(two_runs.folder, two_runs.environment) as address:
        for url in (served, address):
            port = urllib.parse.urlsplit(url).port
            assert port
            assert browser.answers("127.0.0.1", port)
            others = browser.other_addresses()
            assert not [host for host in others if browser.answers(host, port)]


def test_the_served_model_answers_with_poems(served: str) -> None:
    params: dict[str, Any] = {"count": 2, "max_new_tokens": 6, "seed": 3, "top_k": 5, "top_p": 0.9}
    status, answer = ask(served, ["春", ""], **params)
    assert status == 200
    rows = answer["predictions"]
    assert [row["prompt"] for row in rows] == ["春", "春", "", ""]
    assert all(row["poem"].startswith(row["prompt"]) for row in rows)
    assert all(len(row["poem"]) <= len(row["prompt"]) + 6 for row in rows)
    assert ask(served, ["春", ""], **params) == (status, answer)
    assert ask(served, ["春", ""], **(params | {"seed": 4})) != (status, answer)
    greedy = ask(served, ["春"], temperature=0.0, count=3)[1]["predictions"]
    assert len({row["poem"] for row in greedy}) == 1


def test_the_served_model_takes_requests(served: str) -> None:
    wishes = {"form": "五绝", "keep_rules": True, "acrostic": "春？？？"}
    status, answer = ask(served, ["春", "山"], wishes, max_new_tokens=3)
    assert status == 200
    first, second = (row["poem"] for row in answer["predictions"])
    assert first.startswith("春")
    assert (Verse.of(first).form, Verse.of(first).regulated) == ("五言绝句", True)
    assert len(second) <= 4, "the second row asks for nothing but its beginning"
    status, answer = ask(served, [""], {"form": "九绝"})
    assert status == 400
    assert "Error: form = 九绝 is unknown: a model without tunes" in answer["message"]


@pytest.mark.parametrize(
    ("prompts", "params", "message"),
    [
        ([""], {"top_p": 2.0}, "top_p = 2.0 is not allowed: 1e-06 to 1"),
        ([""], {"temperature": -1.0}, "temperature = -1.0 is not allowed"),
        ([""], {"temperature": float("nan")}, "temperature = nan is not allowed"),
        ([""], {"top_k": -1}, "top_k = -1 is not allowed"),
        ([""], {"seed": 2**32}, "seed = 4294967296 is not allowed"),
        ([""], {"max_new_tokens": 0}, "max_new_tokens = 0 is not allowed"),
        ([""], {"count": 257}, "count = 257 is not allowed"),
        (["", ""], {"count": 200}, "2 prompts × count 200 is not allowed: at most 256 poems"),
        (["山" * 1001], {}, "a prompt of 1001 characters is not allowed"),
        ([""], {"temperature": "warm"}, "temperature"),
    ],
)
def test_the_served_model_refuses_what_is_out_of_range(
    served: str, prompts: list[str], params: dict[str, Any], message: str
) -> None:
    status, answer = ask(served, prompts, **params)
    assert status == 400
    assert message in answer["message"]


def test_the_documented_commands(two_runs: Project) -> None:
    """Run docs/experiments.md, command by command."""
    text = (Path(__file__).parents[2] / "docs/experiments.md").read_text(encoding="utf-8")
    blocks = text.split("```\n")[1::2]
    commands = [line for block in blocks for line in block.splitlines()]
    python = f"{two_runs.python} -m"
    apply = f"{python} tools.apply_experiment "
    run_here = [
        line.replace("make apply EXPERIMENT=", apply).replace("dvc ", f"{python} dvc ", 1)
        for line in commands
        if line.startswith(("dvc ", "git ", "make apply "))
    ]
    assert len(run_here) == 12
    subprocess.run(["git", "checkout", "--quiet", "params.yaml"], cwd=two_runs.folder, check=True)
    assert two_runs.repro() == []
    for name in ("user.name", "user.email"):
        subprocess.run(["git", "config", name, "a"], cwd=two_runs.folder, check=True)
    for line in run_here:
        try:
            done = subprocess.run(
                shlex.split(line),
                cwd=two_runs.folder,
                env=two_runs.environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=400,
            )
        except subprocess.TimeoutExpired as error:
            logs = sorted((two_runs.folder / ".dvc/tmp/exps").rglob("*.out"))
            tails = [f"{log}:\n{log.read_text(errors='replace')[-2000:]}" for log in logs]
            pytest.fail("\n".join([f"{line} hangs: {error.stdout!r}", *tails]))
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        if line.endswith("dvc params diff HEAD slower"):
            assert "pretrain.lr" in done.stdout
        if line.endswith("dvc metrics diff HEAD slower"):
            assert "nats_per_character" in done.stdout
        if line.endswith("dvc queue status"):
            assert done.stdout.count("Success") == 2
    runs = {run["tags"].get("dvc.experiment"): run for run in two_runs.tracked()}
    assert {"slower", "lr-3", "lr-12"} <= set(runs)
    for name, lr in (("slower", "0.0025"), ("lr-3", "0.003"), ("lr-12", "0.012")):
        assert runs[name]["status"] == "FINISHED"
        assert runs[name]["params"]["pretrain.lr"] == lr
        assert runs[name]["name"] == f"{name}: lr={lr}"
        assert runs[name]["train"] == list(range(40))
    assert "lr: 0.012" in (two_runs.folder / "params.yaml").read_text(encoding="utf-8")
