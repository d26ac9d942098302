"""The lock file agrees with pyproject.toml and with the installed packages."""

import re
import tomllib
from importlib.metadata import version

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.project import ROOT

LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")


def _locked() -> dict[str, str]:
    pins = re.findall(r"^([\w.-]+)==(\S+)", LOCK, re.MULTILINE)
    return {canonicalize_name(name): pin for name, pin in pins}


def test_every_pin_has_hashes() -> None:
    entries = re.split(r"\n(?=[a-z])", LOCK)[1:]
    assert len(entries) == len(_locked()) > 100
    for entry in entries:
        assert re.fullmatch(r"[\w.-]+==\S+.*(?: \\\n    --hash=sha256:[0-9a-f]{64})+\n?", entry)


def test_the_lock_holds_what_the_project_asks_for() -> None:
    with open(ROOT / "pyproject.toml", "rb") as file:
        project = tomllib.load(file)["project"]
    extras = project["optional-dependencies"]
    names = ("serve", "export", "pipeline", "remotes", "dev")
    wanted = [*project["dependencies"], *(each for name in names for each in extras[name])]
    locked = _locked()
    requirements = [each for each in map(Requirement, wanted) if each.name != project["name"]]
    assert len(requirements) > 30
    for requirement in requirements:
        name = canonicalize_name(requirement.name)
        if name == "torch":  # its builds differ: the Makefile pins the release
            makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
            [pin] = re.findall(r"install --quiet torch==(\S+)", makefile)
        else:
            pin = locked[name]
        assert requirement.specifier.contains(pin), requirement
        if requirement.marker is None or requirement.marker.evaluate():
            assert version(name).split("+")[0] == pin
