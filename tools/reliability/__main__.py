"""Run all reliability tests, or the named parts, and write their tables to docs/reliability.md.

`python -m tools.reliability` takes about an hour and a half on two cores.
`python -m tools.reliability kills fuzz` runs two parts. The results of each part are kept in
docs/reliability.json, and the tables in docs/reliability.md are made from them.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nanopoet.common.files import read_json, write_json, write_text
from nanopoet.common.model_folders import best_model
from tests.support.project import ROOT, Project
from tools.reliability import damage, load
from tools.reliability import page as page_load
from tools.reliability.faults import Outcome, new_project, series
from tools.reliability.surroundings import run_tests, try_all
from tools.reliability.tables import fill, render

RESULTS, PAGE = ROOT / "docs/reliability.json", ROOT / "docs/reliability.md"
PROPERTIES = "tests/integration/test_properties.py"
STAGES = ("load", "split", "tokenize", "encode", "pretrain", "baseline", "evaluate", "report")

FAULTS = 105
"""Faults of the part `kills`, at least."""
INPUTS = 7_000
"""Inputs for each kind of file."""
EXAMPLES = 1_000
"""Examples for each property."""
SERVED_SECONDS = 180.0
CLIENTS = 32
ROUNDS, ROUND_SECONDS = 5, 10.0
"""Rounds of the comparison of one client and many, and seconds for each of both."""
SOAK_SECONDS = 300.0
EVALUATIONS = 1_000
TIMES = (1, 3, 10)
"""Sizes of the corpus, as multiples of the real one."""


def kills(folder: Path, reference: Project) -> dict[str, Any]:
    """Send signals at random times."""
    return _rows(series(folder, reference, seed=1, count=FAULTS), ("signal", "to", "while"))


def files(folder: Path, reference: Project) -> dict[str, Any]:
    """Flip, cut and remove every out."""
    project = new_project(folder / "damaged")
    project.repro()
    return _rows(damage.damaged_outs(project, reference, seed=1), ("what", "file", "when"))


def disks(folder: Path, reference: Project) -> dict[str, Any]:
    """Fill disks, make folders read-only, and let writes fail half-way."""
    outcomes = [
        damage.cut_writes(reference, (0, 60, 200), STAGES),
        damage.read_only(reference, STAGES),
        damage.no_space(folder, reference, range(900, 3000, 300)),
    ]
    return _rows(_sum(outcomes), ("what", "where", "when"))


def others(folder: Path, reference: Project) -> dict[str, Any]:
    """Let clocks jump, and run two pipelines at once."""
    outcomes = [damage.clock_jumps(folder / str(seed), reference, seed) for seed in range(3)]
    outcomes += [damage.two_at_once(folder / f"two-{i}", reference, 2) for i in range(3)]
    return _rows(_sum(outcomes), ("what", "who", "when"))


def fuzz(folder: Path, reference: Project) -> dict[str, Any]:
    """Read bytes that atheris generates."""
    from tools.reliability.fuzz import TARGETS
    from tools.reliability.fuzz import fuzz as run

    del reference
    results = run(TARGETS, INPUTS, 1, folder)
    return {
        "tried": {name: tried for name, (tried, _) in results.items()},
        "failures": [f"{name}: {failure}" for name, (_, failure) in results.items() if failure],
    }


def properties(folder: Path, reference: Project) -> dict[str, Any]:
    """Check the properties of tests/integration/test_properties.py with many more examples."""
    del folder, reference
    passed, failed = (
        [test.partition("::")[2] for test in tests]
        for tests in run_tests(PROPERTIES, NANOPOET_EXAMPLES=str(EXAMPLES))
    )
    return {"tried": dict.fromkeys([*passed, *failed], EXAMPLES), "failures": failed}


def surroundings(folder: Path, reference: Project) -> dict[str, Any]:
    """Imitate other machines, folders, corpora and browsers."""
    del folder, reference
    return try_all()


def serving(folder: Path, reference: Project) -> dict[str, Any]:
    """Let clients ask a served model for poems."""
    del folder
    served = load.serve_load(reference, CLIENTS, SERVED_SECONDS)
    return {"clients": CLIENTS, "seconds": SERVED_SECONDS} | served.figures()


def page(folder: Path, reference: Project) -> dict[str, Any]:
    """Let clients ask the page of `nanopoet serve` for poems."""
    del folder, reference
    model = best_model()
    if not Path(model).exists():
        sys.exit(f"error: {model}: no such folder; run `make repro`")
    busy = os.getloadavg()[0]
    with page_load.serve(model) as (address, process):
        rates = page_load.throughput(address, CLIENTS, ROUNDS, ROUND_SECONDS)
        survived = page_load.survive(address, process, CLIENTS, SOAK_SECONDS)
    settings = {"model": model, "clients": CLIENTS, "seconds": SOAK_SECONDS, "load_before": busy}
    return settings | {"poems_per_second": rates} | survived.figures()


def evaluations(folder: Path, reference: Project) -> dict[str, Any]:
    """Train with an evaluation at each step."""
    del reference
    project = new_project(folder / "evaluations")
    project.repro("encode")
    return load.many_evaluations(project, EVALUATIONS)


def corpus(folder: Path, reference: Project) -> dict[str, Any]:
    """Run the stages up to `encode` on larger and larger corpora."""
    del reference
    source = ROOT / "data/poems.jsonl"
    if not source.exists():
        sys.exit("error: data/poems.jsonl: no such file; run `dvc repro load`")
    project, rows = new_project(folder / "corpus"), {}
    for times in TIMES:
        poems = load.enlarge(source, project.folder / "large.jsonl", times)
        rows[str(times)] = {"poems": poems} | load.stages_by_size(project, "large.jsonl")
    return rows


PARTS: dict[str, Callable[[Path, Project], dict[str, Any]]] = {
    "kills": kills,
    "files": files,
    "disks": disks,
    "others": others,
    "fuzz": fuzz,
    "properties": properties,
    "surroundings": surroundings,
    "serving": serving,
    "page": page,
    "evaluations": evaluations,
    "corpus": corpus,
}
NEED_REFERENCE = {"kills", "files", "disks", "others", "serving"}
"""Parts that use the project whose pipeline nobody disturbs."""


def _sum(outcomes: list[Outcome]) -> Outcome:
    total = Outcome()
    for outcome in outcomes:
        total.faults += outcome.faults
        total.failures += outcome.failures
        total.projects += outcome.projects
    return total


def _rows(outcome: Outcome, names: tuple[str, str, str]) -> dict[str, Any]:
    rows = [dict(zip(names, key, strict=True)) | {"times": outcome.faults[key]}
            for key in sorted(outcome.faults)]  # fmt: skip
    return {"faults": rows, "failures": outcome.failures, "chains": outcome.projects}


def main() -> None:
    """Run the parts and write their results; exit with 1 if anything failed."""
    parser = argparse.ArgumentParser(prog="python -m tools.reliability", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parts = parser.parse_args().parts or list(PARTS)
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    if "disks" in parts and not damage.can_mount():
        parser.error("disks needs Linux and `unshare --user --mount`")
    folder = Path(tempfile.mkdtemp(prefix="nanopoet-reliability-"))
    reference = new_project(folder / "reference")
    if NEED_REFERENCE & set(parts):
        reference.repro()
    failures = 0
    for part in parts:
        where = folder / part
        where.mkdir()
        result = PARTS[part](where, reference)
        known = read_json(RESULTS) if RESULTS.exists() else {}
        write_json(RESULTS, known | {part: result})
        found = result.get("failures", [])
        failures += len(found) if isinstance(found, list) else found
        shown = {name: each for name, each in result.items() if name != "faults"}
        print(f"{part}: {json.dumps(shown, ensure_ascii=False)}", flush=True)
    write_text(PAGE, fill(PAGE.read_text(encoding="utf-8"), render(read_json(RESULTS))))
    shutil.rmtree(folder)
    print(f"{RESULTS.relative_to(ROOT)}, {PAGE.relative_to(ROOT)}: {failures} failures")
    sys.exit(min(failures, 1))


if __name__ == "__main__":
    main()
