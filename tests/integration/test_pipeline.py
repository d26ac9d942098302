"""The whole chain on a small corpus, with real processes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from dvc.repo import Repo
from transformers import AutoTokenizer

from bench.llama import LlamaCpp
from nanopoet.common.yaml import read_yaml
from nanopoet.corpus.duplicates import duplicate_groups
from nanopoet.corpus.poems import read_poems, write_poems
from nanopoet.corpus.split import split_data
from nanopoet.export.gguf import export_gguf
from nanopoet.export.huggingface import export_huggingface
from nanopoet.models.qwen3 import Qwen3LanguageModel
from nanopoet.params import load_params
from nanopoet.tokens.tokenizer import SPECIAL_TOKENS, UNKNOWN, CharTokenizer
from tests.support.params import SMALL, STAGES
from tests.support.poems import make_poems
from tests.support.project import ROOT, Project

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


def test_the_summary_says_what_came_out(project: Project) -> None:
    text = project.run("tools.summary").stdout
    for part in ("models/poet/", "val ", "e^loss", "pretrain ", "make ui", "a poem\n  "):
        assert part in text


def test_the_run_is_tracked(project: Project) -> None:
    run = project.tracked()[0]
    assert run["status"] == "FINISHED"
    params = load_params(project.folder / "params.yaml").model_dump()
    assert run["params"] == {
        f"{section}.{leaf}": str(value)
        for section, leaves in params.items()
        for leaf, value in leaves.items()
    }
    assert [step for step, _ in run["val"]] == [0, 2, 4, 5]
    assert run["train"] == list(range(TOTAL_STEPS))
    assert run["val"][-1][1] == pytest.approx(project.metrics("pretrain")["loss_val"])
    assert [name for name, _ in run["inputs"]] == ["poems/train", "poems/val", "vocabulary"]
    assert {"samples.json", "samples.txt", "history.csv", "report.html"} <= set(run["files"])
    assert run["pictures"] == ["plots/loss.png", "plots/loss_by_form.png"]
    assert run["metrics"]["evaluate/nats_per_character"] == pytest.approx(
        project.metrics("evaluate")["nats_per_character"]
    )


def test_the_tracked_model_writes_poems_elsewhere(project: Project, tmp_path: Path) -> None:
    """In a folder and a process that know nothing of the project."""
    run = project.tracked()[0]
    script = f"""
import mlflow, pandas as pd, sys
mlflow.set_tracking_uri("sqlite:///{project.folder / "mlflow.db"}")
model = mlflow.pyfunc.load_model("models:/{run["models"][0]}")
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
    """Another folder, locale, time zone, umask, hash seed, width of terminal: the same outs."""
    elsewhere = Project(tmp_path / "另一處 with a space", load={"source": "mine.jsonl"}, **SMALL)
    write_poems(elsewhere.folder / "mine.jsonl", make_poems(300))
    elsewhere.environment |= {
        "LC_ALL": "C",
        "TZ": "Asia/Shanghai",
        "PYTHONHASHSEED": "1",
        "COLUMNS": "40",
        "HOME": str(tmp_path),
    }
    elsewhere.umask = 0o077
    assert sorted(elsewhere.repro()) == sorted(STAGES)
    assert _outs(elsewhere) == _outs(project)


def _outs(project: Project) -> dict[str, str]:
    """Digest of each out of each stage."""
    lock = read_yaml(project.folder / "dvc.lock")
    outs = {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]}
    assert {"models/poet", "report/index.html", "metrics/evaluate.json"} <= set(outs)
    return outs


def test_nothing_temporary_is_left(project: Project) -> None:
    assert not list(project.folder.rglob("*.partial"))
    assert not list(project.folder.rglob(".fetch-*"))


# Change a parameter: (new value, stages that go stale). What follows it in the chain runs
# if its outs differ.
STALE: dict[str, tuple[object, str]] = {
    "fetch.package": ("other", "fetch"),
    "fetch.version": ("2.0.2", "fetch"),
    "fetch.integrity": ("sha512-" + "A" * 86 + "==", "fetch"),
    "load.source": ("other.jsonl", "load"),
    "split.val_every": (5, "split"),
    "split.duplicates": ("together", "split"),
    "encode.separators": (False, "encode"),
    "pretrain.architecture": ("classic", "pretrain"),
    "pretrain.emb_size": (32, "pretrain"),
    "pretrain.block_size": (16, "pretrain"),
    "pretrain.layer_num": (1, "pretrain"),
    "pretrain.head_num": (4, "pretrain"),
    "pretrain.kv_head_num": (2, "pretrain"),
    "pretrain.previous_token_heads": ([], "pretrain"),
    "pretrain.mlp_size": (16, "pretrain"),
    "pretrain.dropout": (0.1, "pretrain"),
    "pretrain.max_steps": (7, "pretrain"),
    "pretrain.batch_size": (2, "pretrain"),
    "pretrain.micro_batch_size": (1, "pretrain"),
    "pretrain.activation_checkpointing": (True, "pretrain"),
    "pretrain.windows": ("random", "pretrain"),
    "pretrain.optimizer": ("adamw", "pretrain"),
    "pretrain.lr": (1e-3, "pretrain"),
    "pretrain.embedding_lr": (1e-3, "pretrain"),
    "pretrain.character_features": ([], "pretrain"),
    "pretrain.muon_lr": (1e-3, "pretrain"),
    "pretrain.muon_momentum": (0.5, "pretrain"),
    "pretrain.beta1": (0.5, "pretrain"),
    "pretrain.beta2": (0.9, "pretrain"),
    "pretrain.warmup_steps": (2, "pretrain"),
    "pretrain.decay": (0.25, "pretrain"),
    "pretrain.weight_decay": (0.1, "pretrain"),
    "pretrain.eval_every": (3, "pretrain"),
    "pretrain.eval_windows": (2, "pretrain"),
    "pretrain.sample_prompts": (["山"], "pretrain"),
    "pretrain.sample_length": (10, "pretrain"),
    "pretrain.checkpoint_every": (5, "pretrain"),
    "pretrain.torchrun": ("--standalone --nproc-per-node 2", "pretrain"),
    "pretrain.device": ("auto", "pretrain"),
    "pretrain.precision": ("auto", "pretrain"),
    "pretrain.compile": ("on", "pretrain"),
    "pretrain.seed": (1, "pretrain"),
    "baseline.order": (3, "baseline"),
    "evaluate.context": (4, "evaluate"),
    "evaluate.batch_size": (2, "evaluate"),
    "evaluate.sample_count": (3, "baseline evaluate"),
    "evaluate.sample_length": (9, "baseline evaluate"),
    "evaluate.device": ("auto", "evaluate"),
    "evaluate.precision": ("auto", "evaluate"),
    "evaluate.temperature": (0.5, "evaluate"),
    "evaluate.seed": (1, "baseline evaluate"),
}


def test_the_table_names_every_leaf() -> None:
    params = load_params(ROOT / "params.yaml").model_dump()
    assert set(STALE) == {f"{section}.{leaf}" for section in params for leaf in params[section]}


@pytest.mark.parametrize("leaf", STALE)
def test_a_parameter_makes_its_stage_stale(unchanged: Project, leaf: str) -> None:
    value, stages = STALE[leaf]
    section, name = leaf.split(".")
    write_poems(unchanged.folder / "other.jsonl", make_poems(40, seed=2))
    always = {"fetch"}  # never ran here: the corpus is the user's own
    assert _stale(unchanged) == always
    unchanged.set(**{section: {name: value}})
    load_params(unchanged.folder / "params.yaml")
    assert _stale(unchanged) == always | set(stages.split())


def _stale(project: Project) -> set[str]:
    with Repo(str(project.folder)) as repo:
        return {name.split(":")[-1] for name in repo.status()}


def test_a_change_reruns_what_follows_and_the_way_back_runs_nothing(unchanged: Project) -> None:
    before, runs_before = unchanged.metrics("evaluate"), len(unchanged.tracked())
    original = (unchanged.folder / "params.yaml").read_bytes()
    unchanged.set(pretrain={"lr": 1e-3})
    assert unchanged.repro() == ["pretrain", "evaluate", "report"]
    assert unchanged.metrics("evaluate") != before
    runs = unchanged.tracked()
    assert len(runs) == runs_before + 1
    assert runs[-1]["params"]["pretrain.lr"] == "0.001"

    (unchanged.folder / "params.yaml").write_bytes(original)
    assert unchanged.repro() == []
    assert unchanged.metrics("evaluate") == before

    # `evaluate` alone is stale, and its result is another one: parameters of a run are for good.
    unchanged.set(evaluate={"seed": 5})
    assert unchanged.repro() == ["baseline", "evaluate", "report"]
    # A second time, as after a lost metrics file, it finds that run.
    assert unchanged.run("stages.evaluate").returncode == 0
    runs = unchanged.tracked()
    assert len(runs) == runs_before + 2
    assert runs[-1]["params"]["evaluate.seed"] == "5"
    assert runs[-1]["train"] == list(range(TOTAL_STEPS))


@pytest.mark.slow
def test_a_recipe_runs_beside_the_workspace(unchanged: Project) -> None:
    folder, before = unchanged.folder, unchanged.metrics("pretrain")
    runs_before = len(unchanged.tracked())
    recipes = "quick: {pretrain: {max_steps: 3, optimizer: adamw}, encode: {separators: false}}"
    (folder / "recipes.yaml").write_text(recipes, encoding="utf-8")
    unchanged.commit()
    options = unchanged.run("nanopoet.recipes", "quick").stdout.split()
    assert len(options) == 6
    done = unchanged.run("dvc", "exp", "run", "--temp", "--name", "quick", *options, "report")
    assert done.returncode == 0, done.stdout + done.stderr
    assert unchanged.metrics("pretrain") == before
    assert _stale(unchanged) == {"fetch"}
    *_, run = unchanged.tracked()
    assert len(unchanged.tracked()) == runs_before + 1
    assert run["status"] == "FINISHED"
    assert run["params"]["pretrain.optimizer"] == "adamw"
    assert run["train"] == [0, 1, 2]
    assert "evaluate/nats_per_character" in run["metrics"]


def test_a_second_ctrl_c_ends_it_at_once(tmp_path: Path) -> None:
    """The first one waits for something that takes long; no other code runs after the second."""
    script = """
import sys, time
from stages.runner import run
def main():
    try:
        print("begun", flush=True)
        time.sleep(60)
    finally:
        print("closing", flush=True)
        try:
            time.sleep(60)
        finally:
            print("too late", flush=True)
run(main)
"""
    (tmp_path / "slow.py").write_text(script, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, "slow.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "closing\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == ""
    assert process.returncode == 130


def test_ctrl_c_while_it_still_imports_is_no_traceback(unchanged: Project) -> None:
    with unchanged.start("stages.evaluate") as process:
        own = psutil.Process(process.pid)
        while not any("libtorch" in file.path for file in own.memory_maps()):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate()
    assert (stdout, stderr) == ("", "")
    assert process.returncode == -signal.SIGINT


def test_garbage_is_collected_but_for_what_was_imported() -> None:
    script = "import gc, sys; sys.argv = ['-m']; import stages; print(gc.isenabled())\n"
    script += "from stages.runner import run; sys.argv = ['mend']\n"
    script += "run(lambda: print(gc.isenabled(), gc.get_freeze_count() > 10_000))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\nTrue True\n"


@pytest.mark.parametrize("name", [".dvc/tmp/rwlock", "dvc.lock"])
def test_what_kill_9_has_cut_off_is_removed(unchanged: Project, name: str) -> None:
    """DVC writes it in place, and is stuck afterwards."""
    path = unchanged.folder / name
    before = path.read_bytes()
    for cut in (b"", before[: len(before) // 3].rpartition(b":")[0] + b": {"):
        path.write_bytes(cut)
        assert unchanged.run("dvc", "repro", "report").returncode != 0
        done = unchanged.run("tools.repair_dvc")
        assert (done.returncode, done.stderr) == (0, "")
        assert f"{name} was cut off by the end of a process; removed" in done.stdout
        assert unchanged.repro() == []
    assert unchanged.run("tools.repair_dvc").stdout == ""
    assert path.exists()


def test_a_lost_store_is_rebuilt_from_the_files(unchanged: Project) -> None:
    shutil.move(unchanged.folder / "mlflow.db", unchanged.folder / "mlflow.away")
    try:
        unchanged.set(evaluate={"temperature": 0.6})
        assert unchanged.repro() == ["evaluate", "report"]
        [run] = unchanged.tracked()
        assert run["tags"]["nanopoet.rebuilt"] == "true"
        assert [step for step, _ in run["val"]] == [0, 2, 4, 5]
        assert run["models"]
    finally:
        shutil.move(unchanged.folder / "mlflow.away", unchanged.folder / "mlflow.db")


# Bad input: one line, status 1, and what was there stays.


def _fails(project: Project, stage: str, *parts: str) -> None:
    before = _files(project.folder)
    done = project.run(f"stages.{stage}")
    assert done.returncode == 1, done.stdout + done.stderr
    [line] = done.stderr.strip().splitlines()
    assert line.startswith(f"error: {stage}: ")
    for part in parts:
        assert part in line
    assert _files(project.folder) == before


def _files(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for name in ("data", "metrics", "models", "raw")
        for file in (folder / name).rglob("*")
        if file.is_file()
    }


@pytest.mark.parametrize(
    ("line", "part"),
    [
        (b"no json", "not valid JSON"),
        (b'{"title": "x"}', "no `content`"),
        (b'{"content": 3}', "not a text"),
        (b'{"content": ""}', "`content` is empty"),
        (b"\xff", "not UTF-8"),
        (b"", "empty line"),
    ],
)
def test_load_names_a_bad_line(unchanged: Project, line: bytes, part: str) -> None:
    bad = unchanged.folder / "bad.jsonl"
    write_poems(bad, make_poems(3))
    bad.write_bytes(bad.read_bytes() + line + b"\n")
    unchanged.set(load={"source": "bad.jsonl"})
    _fails(unchanged, "load", "bad.jsonl:4: ", part)


@pytest.mark.parametrize(
    ("name", "raw", "part"),
    [
        ("empty.jsonl", b"", "no poem in it"),
        ("missing.jsonl", None, "no such file"),
        ("raw/chinese-poetry.tgz", None, "run `dvc repro fetch`"),
        ("bad.tgz", b"not an archive", "damaged archive"),
        ("corpus.csv", b"", "of no known kind"),
    ],
)
def test_load_names_a_bad_source(
    unchanged: Project, name: str, raw: bytes | None, part: str
) -> None:
    if raw is not None:
        (unchanged.folder / name).write_bytes(raw)
    unchanged.set(load={"source": name})
    _fails(unchanged, "load", name, part)


@pytest.mark.parametrize("stage", ["fetch", "load", "split", "pretrain", "baseline", "report"])
def test_every_stage_names_a_bad_parameter(unchanged: Project, stage: str) -> None:
    unchanged.set(split={"val_every": 1})
    _fails(unchanged, stage, "params.yaml: split.val_every = 1 is not allowed")


def test_a_validation_part_shorter_than_a_block_is_named(unchanged: Project) -> None:
    unchanged.set(pretrain={"block_size": 2000})
    before = len(unchanged.tracked())
    _fails(unchanged, "pretrain", "validation part has 750 tokens", "pretrain.block_size = 2000")
    assert len(unchanged.tracked()) == before


def test_a_diverged_training_is_named_and_its_run_marked(unchanged: Project) -> None:
    unchanged.set(pretrain={"lr": 1e30})
    _fails(unchanged, "pretrain", "training diverged at step", "pretrain.lr = 1e+30")
    assert unchanged.tracked()[-1]["status"] == "FAILED"


def test_an_interrupted_training_is_marked(unchanged: Project) -> None:
    unchanged.set(pretrain={"max_steps": 1_000_000, "eval_every": 1_000_000})
    with unchanged.start("stages.pretrain") as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("pretrain: cpu")
        assert process.stdout.readline().startswith("step     0")
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "pretrain: interrupted" in errors
    assert "Traceback" not in errors
    assert unchanged.tracked()[-1]["status"] == "KILLED"


@pytest.mark.parametrize(
    ("stage", "file"),
    [
        ("split", "data/poems.jsonl"),
        ("tokenize", "data/val.jsonl"),
        ("encode", "data/vocab.json"),
        ("pretrain", "data/train/tokens.npy"),
        ("evaluate", "models/poet/model.safetensors"),
        ("evaluate", "data/baseline_poems.json"),
        ("report", "data/examples.json"),
        ("report", "metrics/evaluate.json"),
    ],
)
def test_a_damaged_input_is_named(unchanged: Project, stage: str, file: str) -> None:
    path = unchanged.folder / file
    raw = path.read_bytes()
    try:
        path.unlink()  # DVC's own copy in the cache may be linked to it
        path.write_bytes(raw[: len(raw) // 2 - 7])
        _fails(unchanged, stage, file.removesuffix("/tokens.npy"))
    finally:
        path.write_bytes(raw)


# The real corpus.


@pytest.fixture(scope="module")
def real_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("real"))
    assert project.repro("encode") == ["fetch", "load", "split", "tokenize", "encode"]
    return project


@pytest.mark.registry
def test_exported_tokenizers_agree_on_every_validation_poem(
    real_project: Project, tmp_path: Path
) -> None:
    """Those of `transformers` and of llama.cpp, with nanopoet's own.

    llama.cpp gets a thousand at once, with a character between them that is not in the vocabulary.
    """
    tokenizer = CharTokenizer.load(real_project.folder / "data/vocab.json")
    texts = [poem["content"] for poem in read_poems(real_project.folder / "data/val.jsonl")]
    expected = [tokenizer.encode(text) for text in texts]
    assert len(expected) == 24_144
    model = Qwen3LanguageModel(tokenizer.vocab_size, 2, 8, 1, 1, 2, 0.0)
    export_huggingface(model, tokenizer, tmp_path / "hf")
    words = AutoTokenizer.from_pretrained(tmp_path / "hf")
    assert words(texts, add_special_tokens=False)["input_ids"] == expected
    assert words.batch_decode(expected) == texts
    export_gguf(model, tokenizer, tmp_path / "poet.gguf")
    llama = LlamaCpp(tmp_path / "poet.gguf", 8)
    for start in range(0, len(texts), 1000):
        ids = llama.encode("\n".join(texts[start : start + 1000]))
        assert ids == tokenizer.encode("\n".join(texts[start : start + 1000]))
        assert ids.count(SPECIAL_TOKENS.index(UNKNOWN)) == len(texts[start : start + 1000]) - 1


@pytest.mark.registry
def test_the_real_corpus_has_the_seed_s_figures(real_project: Project) -> None:
    project, folder = real_project, real_project.folder
    load, split = project.metrics("load"), project.metrics("split")
    assert (load["poems"], load["authors"], load["styles"]) == (241_440, 9_829, 631)
    assert load["content_characters"] == 11_186_141
    assert load["most_common_styles"]["七言绝句"] == 83_145
    assert load["most_common_styles"]["七言律诗"] == 68_155
    assert load["most_common_styles"]["五言律诗"] == 60_209
    assert load["most_common_styles"]["五言绝句"] == 17_053
    assert (split["train_characters"], split["val_characters"]) == (10_067_193, 1_118_948)
    assert (split["val_exact_duplicates"], split["val_near_duplicates"]) == (223, 762)
    assert project.metrics("tokenize") == {
        "characters": 11_857,
        "special_tokens": 11,
        "vocab_size": 11_868,
    }
    encode = project.metrics("encode")
    assert (encode["train_characters"], encode["val_characters"]) == (10_067_193, 1_118_948)
    for stage in ("fetch", "load", "split", "tokenize", "encode"):
        committed = json.loads((ROOT / f"metrics/{stage}.json").read_text(encoding="utf-8"))
        assert project.metrics(stage) == committed
    authors = {poem["author"]: poem["style"] for poem in read_poems(folder / "data/val.jsonl")}
    assert authors["诗经"] == "诗经"
    # Duplicates, where they fall and together.
    poems = read_poems(folder / "data/poems.jsonl")
    sizes = Counter(duplicate_groups(poems).tolist()).values()
    groups = [size for size in sizes if size > 1]
    assert (len(groups), sum(groups)) == (5_416, 11_186)
    train, val = split_data(poems, duplicates="together")
    assert (len(train), len(val)) == (218_281, 23_159)
    # A verified archive is not fetched twice.
    assert "was there already" in project.run("stages.fetch").stdout
