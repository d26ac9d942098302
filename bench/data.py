"""The data stages against plain baselines, timed in turn in one process.

Ratios count, because seconds differ from machine to machine. `python -m bench.data` is a process of
its own: Python's garbage collector would scan the objects of other comparisons.
"""

import subprocess
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import orjson

from nanopoet.common.errors import NanopoetError
from nanopoet.corpus.collection import load_raw_data, read_corpus
from nanopoet.corpus.poems import Poem, write_poems
from nanopoet.tokens.encode import encode_poems
from nanopoet.tokens.tokenizer import CharTokenizer
from stages.runner import run

ARCHIVE = Path("raw/chinese-poetry.tgz")
OUT = Path(".nanopoet/bench.jsonl")
ROUNDS = 3


def seconds(work: Callable[[], object]) -> float:
    """Time a function and return the shortest of `ROUNDS` times in seconds."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def decompress_and_parse() -> None:
    """Stream the archive and parse the members that `load` reads, which is the least it can do."""
    with tarfile.open(ARCHIVE, "r:gz") as archive:
        for member in archive:
            if any(part in member.name for part in ("/quantangshi/poet.", "/ci.song.", "/shijing")):
                file = archive.extractfile(member)
                assert file is not None
                orjson.loads(file.read())


def load() -> None:
    """Read the corpus and write it as the stage `load` does."""
    write_poems(OUT, read_corpus(ARCHIVE, Counter()))


def id_table(poems: list[Poem]) -> dict[str, int]:
    """Make the notebook's dictionary from character to id."""
    characters = sorted({character for poem in poems for character in "".join(_fields(poem))})
    return {character: i for i, character in enumerate(characters)}


def encode_per_character(text: str, id_of: dict[str, int]) -> list[int]:
    """Encode as the notebook does, with one dictionary look-up for each character."""
    return [id_of[character] for character in text]


def peak_memory_of_load() -> float:
    """Measure the peak resident memory of `load` in a process of its own, in MB."""
    script = "import bench.data as b, bench.memory as m; b.load(); print(m.peak_bytes())"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, encoding="utf-8", check=True
    )
    return int(done.stdout) / 1e6


def _fields(poem: Poem) -> tuple[str, ...]:
    return poem["content"], poem["title"], poem["author"], poem["style"]


def require_archive() -> None:
    """Raise a NanopoetError if the archive is missing."""
    if not ARCHIVE.exists():
        raise NanopoetError(f"{ARCHIVE} does not exist; run `dvc repro fetch`")


def table() -> str:
    """Measure everything and return a Markdown table."""
    require_archive()
    OUT.parent.mkdir(exist_ok=True)
    rows: list[tuple[str, float, float, str]] = []
    rows.append(("load / decompress + parse", seconds(load), seconds(decompress_and_parse), "≤ 2"))
    poems = load_raw_data(ARCHIVE)
    text = "".join(poem["content"] for poem in poems)
    id_of = id_table(poems)
    rows.append(
        (
            "tokenize + encode / encode per character",
            seconds(lambda: encode_poems(poems, CharTokenizer(poems), separate=True)),
            seconds(lambda: encode_per_character(text, id_of)),
            "≤ 0.333",
        )
    )
    memory = peak_memory_of_load()
    OUT.unlink()
    lines = ["| compared | ours, s | baseline, s | ratio | to reach |", "|---|---|---|---|---|"]
    for name, ours, baseline, goal in rows:
        lines.append(f"| {name} | {ours:.3f} | {baseline:.3f} | {ours / baseline:.3f} | {goal} |")
    lines.append(f"| peak memory of load, MB | {memory:.0f} | | | ≤ 1,000 |")
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    print(table())


if __name__ == "__main__":
    run(main)
