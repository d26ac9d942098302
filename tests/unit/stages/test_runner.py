"""The frame around every stage: what it prints, with which status it exits, what it notes."""

import gc
import getpass
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nanopoet.common.errors import FileError, NanopoetError
from stages.runner import check_folders, read_timings, remedy, run

PIPELINE = """
stages:
  load:
    cmd: python -m stages.load
    outs:
      - data/poems.jsonl
  pretrain:
    cmd: python -m stages.pretrain
    outs:
      - models/poet:
          persist: true
    metrics:
      - metrics/pretrain.json:
          cache: false
  nothing:
    cmd: "true"
"""

LESS = "lower a size of this stage in params.yaml, such as batch_size"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").write_text(PIPELINE, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("data/poems.jsonl", "; run `dvc repro load`"),
        ("models/poet", "; run `dvc repro pretrain`"),
        ("models/poet/config.json", "; run `dvc repro pretrain`"),
        ("metrics/pretrain.json", "; run `dvc repro pretrain`"),
        ("models/poet2/config.json", ""),
        ("data", ""),
        ("own.jsonl", ""),
    ],
)
def test_the_stage_that_makes_a_file_is_named(here: Path, path: str, text: str) -> None:
    assert remedy(FileError(path, "no such file")) == text
    assert remedy(FileError(here / path, "no such file")) == text


def test_a_damaged_file_is_made_by_force(here: Path) -> None:
    (here / "data").mkdir()
    (here / "data/poems.jsonl").touch()
    assert remedy(FileError("data/poems.jsonl", "damaged")) == "; run `dvc repro --force load`"


@pytest.mark.parametrize("pipeline", [None, "stages: {", ""])
def test_without_a_pipeline_no_stage_is_named(here: Path, pipeline: str | None) -> None:
    (here / "dvc.yaml").unlink()
    if pipeline is not None:
        (here / "dvc.yaml").write_text(pipeline, encoding="utf-8")
    assert remedy(FileError("data/poems.jsonl", "no such file")) == ""


@pytest.fixture
def stage(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[object], None]]:
    """Run a stage called `load` that raises an exception, or does nothing."""
    monkeypatch.setattr(sys, "argv", [str(here / "stages/load.py")])
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def start(error: object) -> None:
        def main() -> None:
            if isinstance(error, BaseException):
                raise error

        run(main)

    yield start
    for number, handler in handlers.items():
        signal.signal(number, handler)
    gc.unfreeze()


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (NanopoetError("params.yaml: no"), "error: load: params.yaml: no"),
        (
            FileError("data/poems.jsonl", "no such file"),
            "error: load: data/poems.jsonl: no such file; run `dvc repro load`",
        ),
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't "
                "allocate memory: you tried to allocate 8000 bytes. Error code 12"
            ),
            f"error: load: there is not enough memory for 8000 bytes; {LESS}",
        ),
        (
            RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has"),
            f"error: load: there is not enough memory for 20.00 GiB; {LESS}",
        ),
        (
            MemoryError("Unable to allocate 6.94 EiB for an array with shape (1, 2)"),
            f"error: load: there is not enough memory for 6.94 EiB; {LESS}",
        ),
        (MemoryError(), f"error: load: there is not enough memory; {LESS}"),
        (OSError(28, "No space left on device"), "error: load: No space left on device"),
        (OSError("odd"), "error: load: odd"),
        (
            FileNotFoundError(2, "No such file or directory", "models/poet/samples.json"),
            "error: load: models/poet/samples.json: no such file; run `dvc repro pretrain`",
        ),
        (
            PermissionError(13, "Permission denied", "data/poems.jsonl"),
            "error: load: data/poems.jsonl: Permission denied",
        ),
        (
            NanopoetError("data/poems.jsonl:7: not valid JSON"),
            "error: load: data/poems.jsonl:7: not valid JSON; run `dvc repro load`",
        ),
    ],
)
def test_a_mistake_is_one_line(
    stage: Callable[[object], None], error: BaseException, line: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        stage(error)
    assert caught.value.code == line
    assert read_timings() == {}


def test_an_interruption_has_its_status(
    stage: Callable[[object], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        stage(KeyboardInterrupt())
    assert caught.value.code == 130
    assert capsys.readouterr().err == "\nload: interrupted; run again\n"


@pytest.mark.parametrize("bug", [ZeroDivisionError, RuntimeError])
def test_a_bug_keeps_its_traceback(stage: Callable[[object], None], bug: type[Exception]) -> None:
    with pytest.raises(bug):
        stage(bug())


@pytest.mark.parametrize("text", ["[1]", "3", "{", ""])
def test_damaged_times_are_unknown(here: Path, text: str) -> None:
    (here / ".nanopoet").mkdir()
    (here / ".nanopoet/timings.json").write_text(text)
    assert read_timings() == {}


def test_times_that_cannot_be_written_are_one_line(
    here: Path, stage: Callable[[object], None]
) -> None:
    (here / ".nanopoet").touch()
    with pytest.raises(SystemExit, match=r"^error: load: .*\.nanopoet"):
        stage(None)


def test_the_time_of_a_stage_is_noted_and_that_of_a_tool_is_not(
    here: Path, stage: Callable[[object], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage(None)
    assert list(read_timings()) == ["load"]
    monkeypatch.setattr(sys, "argv", [str(here / "tools/summary.py")])
    stage(None)
    assert list(read_timings()) == ["load"]


@pytest.mark.parametrize("name", ["models", "data"])
def test_a_folder_elsewhere_is_named_before_the_stage_runs(
    here: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (here / name).symlink_to(elsewhere)
    with pytest.raises(NanopoetError, match=f"^{name} is a link to {elsewhere}, .*dvc cache dir"):
        check_folders()
    monkeypatch.setenv("DVC_STAGE", "load")
    monkeypatch.setattr(sys, "argv", ["load"])
    with pytest.raises(SystemExit, match="is a link to"):
        run(lambda: pytest.fail("the stage ran"))


def test_a_link_that_stays_in_the_repository_is_fine(here: Path) -> None:
    (here / "real").mkdir()
    (here / "models").symlink_to(here / "real")
    (here / "metrics").symlink_to("/")  # git has the metrics, DVC does not
    check_folders()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "gbk", "utf-8"])
def test_a_terminal_that_lacks_characters_gets_others(
    stage: Callable[[object], None], monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding))
    stage(None)
    print("明月 é 𠀀 →", flush=True)
    assert raw.getvalue() == "明月 é 𠀀 →\n".encode(encoding, "replace")


@pytest.mark.parametrize("error", [KeyError("getpwuid(): uid not found: 12345"), OSError("no")])
def test_a_user_without_a_name_has_a_number(
    stage: Callable[[object], None], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def no_entry(_: int) -> None:
        raise error

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", no_entry)
    monkeypatch.setenv("LOGNAME", "")  # put back afterwards
    stage(None)
    assert getpass.getuser() == str(os.getuid())
