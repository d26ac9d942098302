"""Other machines, folders, corpora and browsers: the tests that imitate them, by kind."""

import os
import re
import subprocess
import sys
from collections import Counter
from typing import Any

from nanopoet.common.errors import NanopoetError
from tests.support.project import ROOT

KINDS = {
    "figures and parameters of another machine": ("docs/test_other_figures.py",),
    "a store that moved with its folder, or was copied": (
        "integration/test_tracking_store.py::test_a_store_goes_with_its_folder",
        "integration/test_tracking_store.py::test_other_artifacts_stay",
    ),
    "a store that cannot be used": (
        "integration/test_tracking_store.py",
        "integration/test_unusable_store.py",
    ),
    "another git repository, or none": (
        "unit/stages/test_provenance.py",
        "unit/tools/test_repair_dvc.py",
    ),
    "names with special characters": ("unit/tools/test_run_recipe.py",),
    "locales, terminals, users and homes": (
        "integration/test_surroundings.py",
        "unit/stages/test_runner.py",
        "unit/test_architecture.py::test_text_has_an_encoding",
    ),
    "extreme sampling": (
        "unit/models/test_sampling.py",
        "unit/models/test_generate.py",
        "unit/export/test_gguf.py::test_no_special_token",
        "unit/export/test_huggingface.py::test_no_special_token",
    ),
    "a hand-typed corpus": (
        "integration/test_own_corpus.py",
        "unit/corpus/test_poems.py",
        "unit/corpus/test_text_counts.py",
        "unit/prosody/test_forms.py",
    ),
    "two scripts in one corpus": ("unit/prosody/test_script.py",),
    "browsers and proxies of the page": ("unit/app/test_access.py",),
    "a model that is not there": ("unit/app/test_cli_mistakes.py",),
}
"""Kind → files below tests/, or tests in them. A test counts for the first kind that names it."""


def try_all() -> dict[str, Any]:
    """Run the tests of all kinds.

    Returns:
        `tried`: kind → number of tests; `failures`: the names of tests that failed.
    """
    files = {f"tests/{name.split('::')[0]}": None for names in KINDS.values() for name in names}
    passed, failed = run_tests("-m", "", *files)
    tried = Counter(filter(None, map(_kind_of, [*passed, *failed])))
    return {"tried": {kind: tried[kind] for kind in KINDS}, "failures": failed}


def run_tests(*arguments: str, **environment: str) -> tuple[list[str], list[str]]:
    """Run pytest, and return the names of tests below tests/ that passed and that failed.

    Raises:
        NanopoetError: pytest did not run them to the end, or there is no test.
    """
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rA", "--no-header", *arguments],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    failed = dict.fromkeys(
        re.findall(r"^(?:FAILED|ERROR) tests/(.+?)(?: - .*)?$", done.stdout, re.MULTILINE)
    )
    passed = dict.fromkeys(re.findall(r"^PASSED tests/(.+)$", done.stdout, re.MULTILINE))
    if done.returncode not in (0, 1) or not {*passed, *failed} or done.returncode != bool(failed):
        end = (done.stdout + done.stderr).strip().splitlines()[-1:]
        raise NanopoetError(f"pytest ended with status {done.returncode}: {' '.join(end)}")
    return [test for test in passed if test not in failed], [*failed]


def _kind_of(test: str) -> str | None:
    """Name the first kind that a test belongs to.

    >>> _kind_of("integration/test_tracking_store.py::test_other_artifacts_stay[a]")
    'a store that moved with its folder, or was copied'
    >>> _kind_of("unit/test_architecture.py::test_imports_lead_down[x]") is None
    True
    """
    for kind, names in KINDS.items():
        if test.startswith(names):
            return kind
    return None
