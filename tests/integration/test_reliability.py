"""Short, seeded forms of the tests in docs/reliability.md, and its tables."""

import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from nanopoet.common.files import read_json
from nanopoet.corpus.poems import write_poems
from tests.support.poems import make_poems
from tests.support.project import Project
from tools.reliability import damage, load
from tools.reliability import page as page_load
from tools.reliability.__main__ import PAGE, RESULTS
from tools.reliability.faults import HANGS, Outcome, new_project, running, series, stages
from tools.reliability.tables import fill, render

needs_mounts = pytest.mark.skipif(
    not damage.can_mount(), reason="no mounts of its own for a process here"
)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Make a project whose pipeline nobody disturbs."""
    project = new_project(tmp_path_factory.mktemp("faults") / "reference").fork()
    project.repro()
    return project


def _survived(outcome: Outcome) -> None:
    """Check that there were faults and that nothing went wrong."""
    assert outcome.faults.total() > 0
    assert outcome.failures == []


def test_kills_at_random_times(tmp_path: Path, reference: Project) -> None:
    _survived(series(tmp_path, reference, seed=4, count=1, most=3))


def test_a_training_ends_with_its_dvc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise it would train for hours and keep the next training from its state.

    DVC starts the user's shell. `sh` stays between DVC and the stage, where bash does not.
    """
    monkeypatch.setenv("SHELL", "/bin/sh")
    project = new_project(tmp_path / "orphan")
    project.repro("encode")
    project.set(pretrain={"max_steps": 1_000_000})
    log = project.folder / ".git/repro.log"
    with open(log, "w", encoding="utf-8") as output, running(project, output) as dvc:
        while "step" not in log.read_text(encoding="utf-8"):
            assert dvc.poll() is None
            time.sleep(0.1)
        training = stages(project.folder)
        assert len(training) == 1
        dvc.kill()
    # The training may have to make MLflow's store before it can mark its run.
    _, alive = psutil.wait_procs(training, timeout=HANGS)
    assert alive == [], log.read_text(encoding="utf-8")
    assert [run["status"] for run in project.tracked()] == ["KILLED"]


def test_damaged_outs(reference: Project) -> None:
    _survived(damage.damaged_outs(reference, reference, 0, ["models/poet/model.safetensors"]))


def test_writes_that_fail_half_way(reference: Project) -> None:
    _survived(damage.cut_writes(reference, [60], ["load", "pretrain", "report"]))


@needs_mounts
def test_read_only_folders(reference: Project) -> None:
    _survived(damage.read_only(reference, ["encode", "pretrain"]))


@needs_mounts
def test_a_disk_that_is_full(tmp_path: Path, reference: Project) -> None:
    _survived(damage.no_space(tmp_path, reference, [1500]))


def test_a_clock_that_jumps(tmp_path: Path, reference: Project) -> None:
    _survived(damage.clock_jumps(tmp_path / "clock", reference, 0))


def test_two_at_once(tmp_path: Path, reference: Project) -> None:
    _survived(damage.two_at_once(tmp_path / "two", reference, 1))


def test_generated_bytes_for_each_kind_of_file(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="atheris exists for Linux on x86-64")
    from tools.reliability.fuzz import TARGETS, fuzz

    assert fuzz(TARGETS, 100, 1, tmp_path) == dict.fromkeys(TARGETS, (100, ""))


def test_valid_bytes_are_read_and_cut_bytes_refused() -> None:
    """Otherwise the test above would pass whatever the readers did."""
    pytest.importorskip("atheris", reason="atheris exists for Linux on x86-64")
    from tools.reliability.fuzz import attempt, whole

    raw = (whole() / "model.safetensors").read_bytes()
    assert attempt("model.safetensors", raw) == "read"
    assert attempt("model.safetensors", raw[:-1]) == "refused"


def test_clients_at_a_served_model(reference: Project) -> None:
    served = load.serve_load(reference, clients=8, seconds=5)
    assert served.failures == []
    assert len(served.seconds) >= 8
    assert served.figures()["last_quarter_mb"] > 50


def test_clients_at_the_page(reference: Project) -> None:
    """Patient, slow and leaving ones."""
    with page_load.serve(str(reference.folder / "models/poet")) as (address, process):
        survived = page_load.survive(address, process, clients=8, seconds=5)
        rates = page_load.throughput(address, clients=2, rounds=1, seconds=0.5)
    assert survived.failures == []
    assert set(survived.counts) == {"patient", "slow", "leaving"}
    assert survived.figures()["last_tenth_mb"] > 50
    assert set(rates) == set(page_load.KINDS)


def test_many_evaluations_in_one_run(tmp_path: Path) -> None:
    project = new_project(tmp_path / "evaluations").fork()
    project.repro("encode")
    figures = load.many_evaluations(project, 50)
    assert figures == {"evaluations": 50, "rows_of_samples": 150, "status": "FINISHED"}


def test_memory_does_not_follow_the_corpus(tmp_path: Path) -> None:
    """`split` is left out: poems of forty different characters are its worst case."""
    project = new_project(tmp_path / "sizes")
    small, large = project.folder / "small.jsonl", project.folder / "large.jsonl"
    write_poems(small, make_poems(4_000))
    assert load.enlarge(small, large, 10) == 40_000
    before, after = (load.stages_by_size(project, path.name) for path in (small, large))
    for stage in ("load", "tokenize", "encode"):
        assert after[stage]["peak_mb"] < 1.2 * before[stage]["peak_mb"], stage


# The page


def _results() -> dict[str, Any]:
    """Read the results of the last full run."""
    return read_json(RESULTS)


def test_the_page_shows_the_results() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert fill(page, render(_results())) == page
    assert "<!-- kills -->\n|" in page


def test_no_fault_was_fatal_and_there_were_enough() -> None:
    results = _results()
    for part in ("kills", "files", "disks", "others", "fuzz", "properties"):
        assert results[part]["failures"] == [], part
    assert sum(row["times"] for row in results["kills"]["faults"]) >= 100
    assert {row["signal"] for row in results["kills"]["faults"]} == {"SIGKILL", "SIGTERM", "SIGINT"}
    tried = [*results["fuzz"]["tried"].values(), *results["properties"]["tried"].values()]
    assert sum(tried) >= 100_000
    assert results["serving"]["clients"] == 32
    assert results["serving"]["failures"] == 0
    assert results["page"]["clients"] == 32
    assert results["page"]["seconds"] == 300
    assert results["page"]["failures"] == []
    rates = results["page"]["poems_per_second"]
    assert min(rates["any form"]["ratio"], rates["a form"]["ratio"]) >= 8
    assert results["evaluations"]["evaluations"] == 1000
    assert results["evaluations"]["status"] == "FINISHED"
    assert "10" in results["corpus"]
