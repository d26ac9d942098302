"""A corpus that somebody typed, from `load` to the report."""

import orjson
import pytest

from nanopoet.corpus.collection import in_script
from nanopoet.corpus.poems import Poem, read_poems, write_poems
from tests.support.poems import make_poems
from tests.support.project import Project

MARKS = [("？", "；"), ("\n", "\n"), (",", "."), ("，\n", "。」\n"), ("！", "……"), ("、", "。")]


def _typed() -> list[Poem]:
    poems = make_poems(300)
    for number, poem in enumerate(poems):
        comma, stop = MARKS[number % len(MARKS)]
        poem["content"] = poem["content"].replace("，", comma).replace("。", stop)
    return poems


def test_typed_marks_are_understood_from_load_to_report(unchanged: Project) -> None:
    path = unchanged.folder / "typed.jsonl"
    write_poems(path, _typed())
    path.write_bytes(path.read_bytes() + b"\n\n")
    unchanged.set(load={"source": "typed.jsonl"})
    done = unchanged.run("dvc", "repro", "report")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in done.stdout + done.stderr
    assert "marks: U+000A 400, 。 200, " in done.stdout
    marks = unchanged.metrics("load")["marks"]
    assert marks["？"] == marks["！"] == 2 * 50
    assert marks["U+000A"] == 2 * 4 * 50
    human = unchanged.metrics("evaluate")["verse"]["human"]
    assert human["regular"] == human["by_form"]["五言绝句"]["share"] == 1
    for poem in (unchanged.folder / "data/samples.txt").read_text(encoding="utf-8").split("\n\n"):
        assert all(line.strip() for line in poem.strip().splitlines())


@pytest.mark.parametrize(
    ("content", "part"),
    [("床前明月光疑是地上霜", "1 of 301 poems have no mark"), ("床前abc，", "(a 1, b 1, c 1)")],
)
def test_load_says_what_it_does_not_understand(unchanged: Project, content: str, part: str) -> None:
    odd = Poem(content=content, title="", author="", style="")
    write_poems(unchanged.folder / "odd.jsonl", [*make_poems(300), odd])
    unchanged.set(load={"source": "odd.jsonl"})
    done = unchanged.run("stages.load")
    assert done.returncode == 0
    assert part in done.stderr
    assert done.stderr.startswith("warning: load: odd.jsonl: ")


def test_a_corpus_is_converted_with_its_prompts(unchanged: Project) -> None:
    mixed = [*in_script(make_poems(150), "simplified"), *make_poems(150, seed=1)]
    write_poems(unchanged.folder / "mixed.jsonl", mixed)
    unchanged.set(load={"source": "mixed.jsonl", "script": "simplified"})
    unchanged.set(pretrain={"sample_prompts": ["春風"]})
    unchanged.repro()
    poems = read_poems(unchanged.folder / "data/poems.jsonl")
    assert poems == list(in_script(mixed, "simplified"))
    assert unchanged.metrics("load")["scripts"] | {"either": 0, "simplified": 300} == {
        "traditional": 0,
        "simplified": 300,
        "mixed": 0,
        "either": 0,
    }
    samples = orjson.loads((unchanged.folder / "models/poet/samples.json").read_bytes())
    texts = [row["poem"] for row in samples if row["prompt"] == "春風"]
    assert texts
    assert all(text.startswith("春风") for text in texts)
    assert unchanged.metrics("evaluate")["verse"]["human"]["mixed_scripts"] == 0
    options = ("--max-new-tokens", "5", "--model", "models/poet")
    write = unchanged.run("nanopoet", "write", "千里風雲", *options)
    assert write.stdout.startswith("千里风云")
    assert write.stderr == ""
