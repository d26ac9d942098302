"""Checks of the files around the code: CI, hooks, issue forms, citation and changelog."""

import re
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FORMS = {
    "bug.yml": {"command", "params", "dvc-status", "dvc-version", "processor"},
    "feature.yml": {"problem", "proposal"},
}
"""Fields that each issue form requires from its author."""
CHANGES = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
"""Section names of Keep a Changelog."""


def _text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def _load(path: str) -> dict[Any, Any]:
    content = yaml.safe_load(_text(path))
    assert isinstance(content, dict), f"{path} is no mapping"
    return content


def _recipe(target: str) -> list[str]:
    """Return the commands of a Makefile target."""
    [lines] = re.findall(rf"^{target}:.*\n((?:\t.+\n)+)", _text("Makefile"), re.M)
    return [line.strip().removeprefix("@") for line in lines.splitlines()]


def _project() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads(_text("pyproject.toml"))["project"]
    return project


def _changelog() -> list[tuple[str, str]]:
    """Return heading and body of each section, the newest first."""
    parts = re.split(r"^## (.+)\n", _text("CHANGELOG.md"), flags=re.M)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


def _versions() -> list[tuple[str, date]]:
    """Return version and date of each released section, the newest first."""
    headings = [heading for heading, _ in _changelog() if heading != "Unreleased"]
    assert headings, "CHANGELOG.md has no version"
    versions = []
    for heading in headings:
        parts = re.fullmatch(r"(\d+\.\d+\.\d+) - (\d{4}-\d{2}-\d{2})", heading)
        assert parts, f"CHANGELOG.md: '## {heading}' is not '## version - YYYY-MM-DD'"
        versions.append((parts[1], date.fromisoformat(parts[2])))
    return versions


@pytest.fixture
def workflow() -> dict[Any, Any]:
    return _load(".github/workflows/ci.yml")


@pytest.fixture
def job(workflow: dict[Any, Any]) -> dict[str, Any]:
    [only] = workflow["jobs"].values()
    assert isinstance(only, dict)
    return only


def _step(job: dict[str, Any], key: str, value: str) -> dict[str, Any]:
    """Return the step of a job whose `uses` or `run` begins with a value."""
    [step] = [step for step in job["steps"] if str(step.get(key, "")).startswith(value)]
    assert isinstance(step, dict)
    return step


def test_ci_runs_on_pushes_and_pull_requests(workflow: dict[Any, Any]) -> None:
    triggers = workflow[True]  # YAML 1.1, which PyYAML reads, takes the key `on` for true
    assert triggers["push"] == {"branches": ["main"]}
    assert "pull_request" in triggers


def test_ci_may_only_read_and_stops_outdated_runs(workflow: dict[Any, Any]) -> None:
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["cancel-in-progress"] is True
    assert "github.ref" in workflow["concurrency"]["group"]
    for job in workflow["jobs"].values():
        assert "permissions" not in job
        assert 0 < job["timeout-minutes"] <= 120


def test_ci_has_both_pythons(job: dict[str, Any]) -> None:
    pythons = job["strategy"]["matrix"]["python"]
    assert pythons == ["3.11", "3.13"]
    assert _project()["requires-python"].startswith(f">={pythons[0]}.")
    setup = _step(job, "uses", "actions/setup-python@")["with"]
    assert setup["python-version"] == "${{ matrix.python }}"
    assert setup["cache"] == "pip"
    for path in setup["cache-dependency-path"].split():
        assert (ROOT / path).is_file()


def test_ci_checks_out_the_whole_history(job: dict[str, Any]) -> None:
    assert _step(job, "uses", "actions/checkout@")["with"]["fetch-depth"] == 0


def test_ci_runs_the_steps_of_ci_run(job: dict[str, Any]) -> None:
    step = _step(job, "run", "bash ")
    assert step["run"] == "bash .ci/run"
    assert step["env"] == {"PYTHON": "python${{ matrix.python }}"}
    assert re.search(r"^PYTHON \?= ", _text("Makefile"), re.M), "the Makefile ignores $PYTHON"
    targets = re.findall(r'^(?:[A-Z_]+="[^"]*" )*make ([\w-]+)$', _text(".ci/run"), re.M)
    assert {"check", "test"} <= set(targets)
    for target in targets:
        assert _recipe(target)


def test_ci_runs_the_slow_tests_once_a_week(workflow: dict[Any, Any], job: dict[str, Any]) -> None:
    [when] = workflow[True]["schedule"]
    assert re.fullmatch(r"\d+ \d+ \* \* \d", when["cron"])
    step = _step(job, "run", ".venv/bin/python ")
    assert step["run"].endswith(" -m pytest -m slow")
    assert step["if"] == "github.event_name == 'schedule'"


def test_the_hooks_are_the_commands_of_make_check() -> None:
    repositories = _load(".pre-commit-config.yaml")["repos"]
    assert [each["repo"] for each in repositories] == ["local"]
    hooks = repositories[0]["hooks"]
    assert [hook["entry"] for hook in hooks] == _recipe("check")
    assert len({hook["id"] for hook in hooks}) == len(hooks)
    for hook in hooks:
        assert hook["name"]
        assert hook["language"] == "system"
        assert hook["pass_filenames"] is False
        assert hook["always_run"] is True


def test_the_issue_forms_are_all_here() -> None:
    folder = ROOT / ".github/ISSUE_TEMPLATE"
    assert {path.name for path in folder.iterdir()} == {"config.yml", *FORMS}
    config = _load(".github/ISSUE_TEMPLATE/config.yml")
    assert isinstance(config["blank_issues_enabled"], bool)


@pytest.mark.parametrize("name", FORMS)
def test_an_issue_form_has_what_github_requires(name: str) -> None:
    form = _load(f".github/ISSUE_TEMPLATE/{name}")
    assert form.keys() >= {"name", "description", "body"}
    fields = [element for element in form["body"] if element["type"] != "markdown"]
    for field in fields:
        assert field["type"] in {"checkboxes", "dropdown", "input", "textarea"}
        assert field["attributes"]["label"]
    for element in form["body"]:
        assert element in fields or element["attributes"]["value"]
    labels = [field["attributes"]["label"] for field in fields]
    assert len(set(labels)) == len(labels)
    ids = [field["id"] for field in fields]
    assert len(set(ids)) == len(ids)
    required = {field["id"] for field in fields if field["validations"]["required"]}
    assert required >= FORMS[name]


def test_the_bug_form_asks_for_what_a_maintainer_needs() -> None:
    form = _text(".github/ISSUE_TEMPLATE/bug.yml")
    for command in ("dvc status", "dvc --version", "git diff params.yaml"):
        assert f"`{command}" in form
    assert "SECURITY.md" in form


def test_the_pull_request_template_names_targets_and_files_that_exist() -> None:
    template = _text(".github/pull_request_template.md")
    targets = re.findall(r"`make ([\w-]+)`", template)
    files = re.findall(r"`([\w.]+\.md)`", template)
    assert set(targets) == {"check", "test"}
    assert "CHANGELOG.md" in files
    for target in targets:
        assert _recipe(target)
    for file in files:
        assert (ROOT / file).is_file()


def test_the_citation_is_that_of_this_version() -> None:
    citation, project = _load("CITATION.cff"), _project()
    required = {"cff-version", "message", "title", "authors"}
    assert citation.keys() >= required | {"version", "date-released", "license"}
    assert citation["cff-version"] == "1.2.0"
    assert citation["authors"] == [{"name": "The nanopoet maintainers"}]
    assert citation["title"] == project["name"]
    assert citation["license"] == project["license"]
    version, day = _versions()[0]
    assert citation["version"] == project["version"] == version
    assert citation["date-released"] == day


def test_the_changelog_dates_each_version() -> None:
    versions = _versions()
    keys = [tuple(map(int, version.split("."))) for version, _ in versions]
    assert keys == sorted(set(keys), reverse=True)
    days = [day for _, day in versions]
    assert days == sorted(days, reverse=True)
    unreleased = [heading == "Unreleased" for heading, _ in _changelog()]
    assert not any(unreleased[1:]), "Unreleased comes first and once"


def test_the_changelog_s_sections_have_entries() -> None:
    for heading, body in _changelog():
        parts = re.split(r"^### (.+)\n", body, flags=re.M)
        assert not parts[0].strip(), f"{heading}: text before the first section"
        names = parts[1::2]
        assert names, f"{heading} is empty"
        assert set(names) <= CHANGES
        assert len(set(names)) == len(names)
        for name, entries in zip(names, parts[2::2], strict=True):
            assert re.search(r"^- \S", entries, re.M), f"{heading}, {name} is empty"
