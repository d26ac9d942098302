"""Other machines, folders, corpora and browsers: the tests that imitate them, by kind."""

import os
import re
import subprocess
import sys
from typing import Any

from tests.support.project import ROOT

KINDS = {
    "figures and parameters of another machine": ("docs/test_other_figures.py",),
    "a store that moved with its folder, or was copied": (
        "integration/test_tracking_store.py::test_a_store_goes_with_its_folder",
        "integration/test_tracking_store.py::test_other_artifacts_stay",
    ),
    "a store that cannot be used": ("integration/test_tracking_store.py",),
    "another git repository, or none": (
        "unit/stages/test_provenance.py",
        "unit/tools/test_repair_dvc.py",
    ),
    "names with a meaning": ("unit/tools/test_run_recipe.py",),
    "locales, terminals, users and homes": (
        "integration/test_surroundings.py",
        "unit/stages/test_runner.py",
        "unit/test_architecture.py::test_text_has_an_encoding",
    ),
    "sampling at the edge": (
        "unit/models/test_sampling.py",
        "unit/models/test_generate.py",
        "unit/export/test_gguf.py::test_no_special_token",
        "unit/export/test_huggingface.py::test_no_special_token",
    ),
    "a corpus that somebody typed": (
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
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "--no-header"]
    done = subprocess.run(
        [*command, "-m", "", *files],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    passed = re.findall(r"^PASSED tests/(\S+)", done.stdout, re.MULTILINE)
    failed = re.findall(r"^(?:FAILED|ERROR) tests/(\S+)", done.stdout, re.MULTILINE)
    tried = dict.fromkeys(KINDS, 0)
    for test in [*passed, *failed]:
        if kind := _kind_of(test):
            tried[kind] += 1
    return {"tried": tried, "failures": [test for test in failed if _kind_of(test)]}


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
