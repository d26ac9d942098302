"""The command `nanopoet`."""

import io
import os
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from nanopoet.app.cli import main
from nanopoet.common.text import as_lines
from nanopoet.models.checkpoint import load_model, save_model
from nanopoet.tokens.tokenizer import BEGIN_ID
from tests.support.fork_server import folder_of_python
from tests.support.models import tiny_model
from tests.support.project import ROOT

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model in models/poet, and a file of beginnings."""
    folder = tmp_path_factory.mktemp("home")
    save_model(folder / "models/poet", *tiny_model(), {})
    (folder / "beginnings.txt").write_text("春\n\n山水\n", encoding="utf-8")
    return folder


def command(*arguments: str) -> list[str]:
    return [str(folder_of_python() / "python"), "-m", "nanopoet.app.cli", *arguments]


def written(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["write", *arguments]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_it_is_installed_with_the_package() -> None:
    with open(ROOT / "pyproject.toml", "rb") as file:
        assert tomllib.load(file)["project"]["scripts"] == {"nanopoet": "nanopoet.app.cli:main"}


def test_it_writes_what_the_model_generates(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    options = ["--seed", "5", "--top-k", "9", "--top-p", "0.9", "--temperature", "0.7"]
    out = written(capsys, "春", *options, "--max-new-tokens", "30")
    model, tokenizer = load_model("models/poet")
    ids = model.generate(
        torch.tensor([[BEGIN_ID, *tokenizer.encode("春")]]),
        30,
        generator=torch.Generator().manual_seed(5),
        top_k=9,
        top_p=0.9,
        temperature=0.7,
        stop_id=BEGIN_ID,
    )
    assert out == as_lines(tokenizer.decode_poem(ids[0].tolist())) + "\n"
    assert out.startswith("春")


def test_poems_are_apart_by_a_blank_line(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    options = ["--count", "2", "--max-new-tokens", "9"]
    out = written(capsys, "春。山", "水", *options, "--seed", "1")
    poems = out.split("\n\n")
    assert len(poems) == 4
    assert [poem.startswith(("春。\n山", "水")) for poem in poems] == [True] * 4
    assert len(set(poems)) == 4
    assert written(capsys, "春。山", "水", *options, "--seed", "1") == out
    assert written(capsys, "春。山", "水", *options, "--seed", "2") != out
    assert written(capsys, "春。山", "水", *options) != written(capsys, "春。山", "水", *options)


class Terminal(io.StringIO):
    """Keeps what is on the screen at each flush."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[str] = []

    def isatty(self) -> bool:
        return True

    def flush(self) -> None:
        self.shown.append(self.getvalue())


def test_in_a_terminal_each_character_shows_at_once(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    assert main(["write", "春", "--max-new-tokens", "8", "--seed", "1"]) == 0
    poem = terminal.getvalue().replace("\n", "")
    shown = [text.replace("\n", "") for text in terminal.shown]
    assert shown[: len(poem)] == [poem[:length] for length in range(1, len(poem) + 1)]


def test_prompts_come_from_a_pipe(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    options = ["-", "--max-new-tokens", "5", "--seed", "1"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("春\n\n  山水\r\n".encode())))
    first, second = written(capsys, *options).split("\n\n")
    assert first.startswith("春")
    assert second.startswith("山水")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff")))
    assert main(["write", *options]) == 1
    expected = "error: nanopoet write: standard input is not text: give it as UTF-8\n"
    assert capsys.readouterr().err == expected


def test_it_names_the_characters_that_the_model_lacks(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    assert main(["write", "abca春", "--max-new-tokens", "1"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("abca春")
    assert err == "note: the model does not know abc\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["sing"], "invalid choice: 'sing'"),
        (["write", "--top-p", "0"], "--top-p: 0.0 is not allowed: 1e-06 to 1 (draw from the"),
        (["write", "--temperature", "nan"], "--temperature: nan is not allowed: 0 to 10"),
        (
            ["write", "--temperature", "warm"],
            "--temperature: 'warm' is not allowed: it must be a number",
        ),
        (["write", "--top-k", "1.5"], "--top-k: '1.5' is not allowed: it must be a whole n"),
        (["write", "--temperature", "1e400"], "--temperature: inf is not allowed: 0 to 10"),
        (["write", "--top-p", "true"], "--top-p: 'true' is not allowed: it must be a number"),
        (["write", "--top-p", ""], "--top-p: '' is not allowed: it must be a number"),
        (["write", "--seed", "9" * 5000], "9999999' is not allowed: it must be a whole number"),
        (["write", "--seed", "9" * 99], "...9999999999999999999 is not allowed: 0 to 4294967295"),
        (["write", "--seed", "-1"], "--seed: -1 is not allowed: 0 to 4294967295"),
        (["write", "--count", "257"], "--count: 257 is not allowed: 1 to 256"),
        (["write", "--max-new-tokens", "0"], "--max-new-tokens: 0 is not allowed: 1 to 1000"),
        (["write", "--rev", "HEAD"], "--rev/--repo: gone; `dvc pull` fetches the model"),
        (
            ["serve", "--repo", "elsewhere"],
            "and `dvc get` any other one as `nanopoet write --help`",
        ),
        (["export", "onnx", "poet.onnx"], "invalid choice: 'onnx'"),
        (["serve", "--allow-host", "https://poems.example/"], "without http:// and port"),
        (["serve", "--allow-host", "poems.example:443"], "without http:// and port"),
        (["serve", "--port", "65536"], "--port: 65536 is not allowed: 0 to 65535"),
    ],
)
def test_wrong_usage_says_what_is_allowed(
    arguments: Sequence[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["write", "山" * 1001], "a prompt of 1001 characters is not allowed: at most 1000"),
        (["write", "\udcff"], "is not text: give it as UTF-8"),
        (
            ["write", "--model", "nowhere"],
            "--model nowhere: no such folder; name a model folder with --model, such as",
        ),
        (
            ["export", "gguf", "x", "--model", "."],
            "--model .: no model folder: it has no config.json, model.safetensors, vocab.json",
        ),
        (["serve", "--model", "models"], "--model models: no model folder"),
        (["serve", "--host", "192.0.2.1"], "192.0.2.1: cannot listen there"),
        (["serve", "--host", "é..b"], "é..b: cannot listen there (no name of a machine): give"),
        (["serve", "--host", "[::1]"], "[::1]: cannot listen there (Name or service not known): "),
        (
            ["write", "--model", "runs:/1a2b/model"],
            "--model runs:/1a2b/model: not a folder; run `mlflow artifacts download "
            "--artifact-uri runs:/1a2b/model --dst-path poet` in the project",
        ),
    ],
)
def test_a_mistake_ends_in_one_line(
    arguments: Sequence[str],
    message: str,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "models").symlink_to(home / "models")
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    out, err = capsys.readouterr()
    last = err.splitlines()[-1]
    assert last.startswith(f"error: nanopoet {arguments[0]}: ")
    assert message in last
    assert out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["models"]


def test_a_model_that_is_not_made_yet_or_damaged_is_named_with_its_remedy(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    remedy = "run `make repro` or `dvc pull`, or name another folder with --model\n"
    assert main(["write"]) == 1
    missing = f"error: nanopoet write: --model models/poet: no such folder; {remedy}"
    assert capsys.readouterr().err == missing
    shutil.copytree(home / "models", "models")
    Path("models/poet/config.json").write_text("{", encoding="utf-8")
    assert main(["write"]) == 1
    damaged = "models/poet/config.json: damaged, or made by another version of nanopoet"
    damaged = f"error: nanopoet write: {damaged}; {remedy}"
    assert capsys.readouterr().err == damaged


def test_another_thing_than_a_model_folder_is_named(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments in (["huggingface", "hf"], ["gguf", "poet.gguf"], ["gguf", "folder/poet.gguf"]):
        assert main(["export", *arguments, "--model", str(home / "models/poet")]) == 0
    Path("file").touch()
    Path("empty").mkdir()
    Path("dangling").symlink_to("nowhere")
    Path("circular").symlink_to("circular")
    capsys.readouterr()
    for name, problem in {
        "hf": "an export for transformers, not the model folder",
        "poet.gguf": "an export for llama.cpp, not the model folder",
        "folder": "an export for llama.cpp, not the model folder",
        "file": "a file, not a model folder",
        "empty": "an empty folder: it has no config.json, model.safetensors, vocab.json",
        "dangling": "a link to nothing",
        "circular": "a link to nothing",
        "file/poet": "no such folder",
    }.items():
        assert main(["write", "--model", name]) == 1
        remedy = "name a model folder with --model, such as models/poet"
        expected = f"error: nanopoet write: --model {name}: {problem}; {remedy}\n"
        assert capsys.readouterr().err == expected


def test_a_file_that_cannot_be_read_is_named_without_an_error_number(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)

    def forbid(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", forbid)
    assert main(["write"]) == 1
    expected = "error: nanopoet write: models/poet/vocab.json: Permission denied\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize("kind", ["huggingface", "gguf"])
def test_an_export_goes_nowhere_else(
    kind: str,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = shutil.copytree(home / "models/poet", tmp_path / "poet")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    outside, file, full = tmp_path / "outside", tmp_path / "file", tmp_path / "full"
    (tmp_path / "dangling").symlink_to(outside)
    (tmp_path / "to-model").symlink_to(model)
    file.touch()
    (full / "kept").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    for target, problem in {
        Path(): "exists; ",
        file: "exists; ",
        full: "exists; ",
        tmp_path / "dangling": "exists; ",
        model: "inside the model folder; name a place outside of it",
        model / "export": "inside the model folder; name a place outside of it",
        tmp_path / "to-model/a/b": "inside the model folder; name a place outside of it",
        file / "export": "cannot be written (",
        Path("/proc/export"): "cannot be written (",
        tmp_path / ("x" * 300): "cannot be written (File name too long); name another place",
    }.items():
        assert main(["export", kind, str(target), "--model", str(model)]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith(f"error: nanopoet export: {target}: {problem}")
        assert err.count("\n") == 1
        assert "Errno" not in err
    assert sorted(tmp_path.rglob("*")) == before


@contextmanager
def writing(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the command in the middle of many long poems; it must print no error until its end."""
    with subprocess.Popen(
        command("write", "--count", "256", "--max-new-tokens", "1000"),
        cwd=home,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout
        assert process.stdout.readline()
        yield process
        assert process.stderr
        assert process.stderr.read().strip() == b""


def test_a_reader_that_leaves_ends_it_quietly(home: Path) -> None:
    with writing(home) as process:
        assert process.stdout
        process.stdout.close()
        assert process.wait(60) == 141


def test_ctrl_c_ends_it_quietly(home: Path) -> None:
    with writing(home) as process:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
