"""Run all reliability tests, or the named parts, and write their tables to docs/reliability.md.

`python -m tools.reliability` takes about an hour and a half on two cores.
`python -m tools.reliability kills fuzz` runs two parts. The results of each part are kept in
docs/reliability.json, and the tables in docs/reliability.md are made from them.
"""

import argparse
import json
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nanopoet.common.files import read_json, write_json, write_text
from tests.support.project import ROOT, Project
from tools.reliability import damage, load
from tools.reliability.faults import Outcome, new_project, series
from tools.reliability.surroundings import run_tests, try_all

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
    "evaluations": evaluations,
    "corpus": corpus,
}


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


# docs/reliability.md


def render(results: dict[str, Any]) -> dict[str, str]:
    """Return the table of each part that has results."""
    tables: dict[str, str] = {}
    for part in ("kills", "files", "disks", "others"):
        if part in results:
            tables[part] = _faults_table(results[part])
    for part, unit in (("fuzz", "inputs"), ("properties", "inputs"), ("surroundings", "tests")):
        if part in results:
            tables[part] = _inputs_table(results[part], unit)
    for part in ("serving", "evaluations"):
        if part in results:
            rows = [(name.replace("_", " "), _number(each)) for name, each in results[part].items()]
            tables[part] = _table(("", ""), rows)
    if "corpus" in results:
        tables["corpus"] = _corpus_table(results["corpus"])
    return tables


def _faults_table(part: dict[str, Any]) -> str:
    first, second, third, _ = part["faults"][0]
    totals: Counter[tuple[str, str]] = Counter()
    where: dict[tuple[str, str], Counter[str]] = {}
    for row in part["faults"]:
        # One row for each file would be too many.
        key = (row[first], row[second] if second != "file" else "every out")
        totals[key] += row["times"]
        where.setdefault(key, Counter())[row[third]] += row["times"]
    rows = []
    for key, count in totals.items():
        counts = ", ".join(f"{name} {each}" for name, each in where[key].most_common())
        rows.append((*key, str(count), counts if len(where[key]) > 1 else next(iter(where[key]))))
    total = sum(totals.values())
    table = _table((first, second, "times", third), rows)
    chains = f" in {part['chains']} chains, each from nothing" if part["chains"] else ""
    return f"{table}\n\n{total} faults{chains}: {_verdict(part)}"


def _inputs_table(part: dict[str, Any], unit: str) -> str:
    rows = []
    for name, count in part["tried"].items():
        is_file = "." in name
        rows.append((f"`{name}`" if is_file else _words(name), f"{count:,}"))
    total = sum(part["tried"].values())
    return f"{_table(('', unit), rows)}\n\n{total:,} {unit}: {_verdict(part)}"


def _words(name: str) -> str:
    """Return the name of a test as words.

    >>> _words("test_poems_come_back"), _words("two scripts")
    ('poems come back', 'two scripts')
    """
    return name.removeprefix("test_").replace("_", " ")


def _corpus_table(part: dict[str, Any]) -> str:
    rows = []
    for times, row in part.items():
        cells = [f"{row[s]['seconds'] / part['1'][s]['seconds']:.1f}" for s in load.STREAMING]
        peaks = [f"{row[stage]['peak_mb']:,.0f}" for stage in load.STREAMING]
        rows.append((f"{times}×", f"{row['poems']:,}", *peaks, *cells))
    memory = [f"{stage}, MB" for stage in load.STREAMING]
    return _table(("corpus", "poems", *memory, *(f"{s}, time" for s in load.STREAMING)), rows)


def _verdict(part: dict[str, Any]) -> str:
    count = len(part["failures"])
    return "all survived." if count == 0 else f"**{count} failures.**"


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def fill(page: str, tables: dict[str, str]) -> str:
    """Put each table between the markers that name it."""
    for part, table in tables.items():
        marker = rf"(<!-- {part} -->\n).*?(<!-- end -->)"
        found = re.search(marker, page, re.DOTALL)
        assert found, part
        page = f"{page[: found.end(1)]}{table}\n{page[found.start(2) :]}"
    return page


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
