"""The command `nanopoet`."""

import io
import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

import nanopoet
from nanopoet.app.cli import main
from nanopoet.common.text import as_lines
from nanopoet.models.checkpoint import load_model
from nanopoet.tokens.tokenizer import BEGIN_ID
from tests.support.fork_server import folder_of_python
from tests.support.project import ROOT

pytestmark = pytest.mark.process


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


def test_it_says_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["--version"])
    assert capsys.readouterr().out == f"nanopoet {nanopoet.__version__}\n"


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


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (b"\xff", "standard input is not text: give it as UTF-8"),
        (b" \n\n", "standard input is empty: give it beginnings, one a line"),
        ("春\n\n\x1b[2J".encode(), "standard input, line 3: the prompt '\\x1b[2J' has the control"),
        ("春\n\n鬱".encode(), "standard input, line 3: prompt 鬱 has 鬱, which the training poems"),
        (("春\n" + "山" * 301).encode(), "standard input, line 2: prompt '山山"),
    ],
)
def test_what_is_wrong_in_a_pipe_is_named_with_its_line(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    given: bytes,
    problem: str,
) -> None:
    monkeypatch.chdir(home)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
    assert main(["write", "-", "--draft", "？？？？？"]) == 1
    assert f"error: nanopoet write: {problem}" in capsys.readouterr().err


@pytest.mark.parametrize(("stream", "name"), [("stdin", "input"), ("stdout", "output")])
def test_a_closed_stream_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stream: str, name: str
) -> None:
    """Python has None in its place."""
    monkeypatch.setattr(sys, stream, None)
    assert main(["write", "-"]) == 1
    assert f"error: nanopoet write: standard {name} is closed" in capsys.readouterr().err


def test_it_names_the_characters_that_the_model_lacks(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    assert main(["write", " ab\u200bc a春\n", "--max-new-tokens", "1"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("ab\u200bca春")
    assert err == "note: the model does not know abU+200Bc\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["sing"], "invalid choice: 'sing'"),
        (["write", "-明月"], "-明月 is no option; a prompt that begins with - goes after --"),
        (["serve", "--host", " "], "--host: is empty: give an address, as 127.0.0.1"),
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
