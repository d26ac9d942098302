"""Counting of tests by kind."""

import subprocess

import pytest

from nanopoet.common.errors import NanopoetError
from tools.reliability.surroundings import KINDS, run_tests, try_all


def _answer(monkeypatch: pytest.MonkeyPatch, status: int, text: str) -> None:
    done = subprocess.CompletedProcess([], status, text, "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (0, ""),
        (1, "PASSED tests/a.py::b"),
        (2, "PASSED tests/a.py::b\n!! KeyboardInterrupt !!"),
        (4, "ERROR: not found: tests/a.py"),
        (5, "no tests ran"),
        (-9, "PASSED tests/a.py::b"),
    ],
)
def test_a_run_that_did_not_end_counts_nothing(
    monkeypatch: pytest.MonkeyPatch, status: int, text: str
) -> None:
    _answer(monkeypatch, status, text)
    with pytest.raises(NanopoetError, match=f"pytest ended with status {status}"):
        run_tests("tests/a.py")


def test_each_test_counts_once_and_for_one_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    moved = "integration/test_tracking_store.py::test_a_store_goes_with_its_folder"
    lines = [f"PASSED tests/{moved}[a b]", f"PASSED tests/{moved}[a c]"]
    lines += ["FAILED tests/unit/prosody/test_script.py::test_x[1] - assert 1 == 2"]
    lines += ["PASSED tests/unit/prosody/test_script.py::test_y"]
    lines += ["ERROR tests/unit/prosody/test_script.py::test_y - at its end"]
    _answer(monkeypatch, 1, "\n".join(lines))
    found = try_all()
    counts = {kind: count for kind, count in found["tried"].items() if count}
    names = list(KINDS)
    assert counts == {names[1]: 2, "two scripts in one corpus": 2}
    assert sorted(test[-9:] for test in found["failures"]) == ["test_x[1]", "y::test_y"]
