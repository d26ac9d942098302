"""Mistakes in the use of the command `nanopoet`: one line, and nothing on disk changed."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from nanopoet.app.cli import main

pytestmark = pytest.mark.process


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
        (["write", "--model", ""], "--model .: no model folder: it has no config.json"),
        (["export", "gguf", "new/"], "new/: a folder; name a file, as new/poet.gguf"),
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
    missing = f"error: nanopoet write: models/poet: no such folder; {remedy}"
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
