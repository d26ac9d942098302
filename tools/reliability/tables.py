"""The tables of docs/reliability.md, made from the results in docs/reliability.json."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tools.reliability import load


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
    if "page" in results:
        tables["page"] = _page_tables(results["page"])
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


def _page_tables(part: dict[str, Any]) -> str:
    clients = part["clients"]
    rates = [
        (kind, *(f"{row[name]:.1f}" for name in ("one", "many", "ratio")))
        for kind, row in part["poems_per_second"].items()
    ]
    answers = [(f"answers to {each} clients", f"{n:,}") for each, n in part["answers"].items()]
    memory = [
        (f"memory in the {when} tenth, MB", f"{part[f'{when}_tenth_mb']:,}")
        for when in ("first", "last")
    ]
    others = [("seconds", _number(part["seconds"])), *answers, *memory]
    return "\n\n".join(
        [
            _table(("poems a second", "1 client", f"{clients} clients", "ratio"), rates),
            _table(("", ""), others),
            f"{sum(part['answers'].values()):,} answers: {_verdict(part)} Model: "
            f"`{part['model']}`. Load average of the machine before: {part['load_before']:.1f}.",
        ]
    )


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
