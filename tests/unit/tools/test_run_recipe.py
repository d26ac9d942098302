"""The command that `make run` hands to DVC."""

import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.cli_parse import to_path_overrides
from dvc.utils.hydra import apply_overrides

from nanopoet.common.errors import NanopoetError
from nanopoet.common.yaml import read_yaml
from tests.support.project import ROOT
from tests.support.yaml import write_yaml
from tools import run_recipe
from tools.run_recipe import check_tracked, override, read_seeds

RECIPES = read_yaml(ROOT / "recipes.yaml")
VALUES: list[Any] = [
    *("my poems.jsonl", "唐诗(全).jsonl", "a,b.jsonl", "it's", 'a"b', "x#y", "x # y", "a=b", "a:b"),
    *("--standalone --nproc-per-node 2", "--nnodes 2 --rdzv-endpoint host:29400", "C:\\x y"),
    *(
        "",
        " lead",
        "true",
        "null",
        "3",
        "1e3",
        "[x]",
        "{x: 1}",
        "choice(a,b)",
        "$a",
        "~",
        "*",
        "%20",
    ),
    *("a\\'b", "\\", "a\\\\", "\\\\'", "a\nb", "\t"),
    *([], ["", "明月", "a,b"], [1, 2], True, False, 3e-4, 1e-20, 1e22, 5, 0.0),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_dvc_reads_back_every_value(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("load:\n  source: before\n  other: 1\n", encoding="utf-8")
    [overrides] = to_path_overrides([override("load.source", value)]).values()
    apply_overrides(path, overrides)
    found = read_yaml(path)
    assert found == {"load": {"source": value, "other": 1}}
    assert type(found["load"]["source"]) is type(value)


def test_a_reference_of_dvc_is_refused() -> None:
    with pytest.raises(NanopoetError, match=r"load.source = '\$\{x\}' is not allowed"):
        override("load.source", "${x}")


@pytest.fixture
def here(
    tmp_path: Path, write_params: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A repository with one commit, in a part of which the project is."""
    write_params(load={"source": "mine.jsonl"})
    recipe = {"pretrain": {"lr": 0.5}, "load": {"source": "two words.jsonl"}}
    write_yaml(tmp_path / "recipes.yaml", {"quick": recipe, "else": {}})
    (tmp_path / "dvc.yaml").write_text("stages: {fetch: {outs: [raw/x.tgz]}}")
    monkeypatch.chdir(tmp_path)
    for command in ("init", "add .", "-c user.name=a -c user.email=a@b commit -m x"):
        subprocess.run(["git", *command.split()], check=True, capture_output=True)
    return tmp_path


@pytest.mark.parametrize("how", ["makes it", "fails", "is interrupted"])
def test_the_second_time_it_replaces_the_experiment_and_says_so(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    started: list[str] = []
    head = subprocess.check_output(["git", "rev-parse", "HEAD"], encoding="utf-8").strip()
    new = subprocess.check_output(["git", "rev-parse", "HEAD^{tree}"], encoding="utf-8").strip()
    reference = f"refs/exps/{head[:2]}/{head[2:]}/quick"
    real = subprocess.run

    def run(command: list[str], **options: Any) -> "subprocess.CompletedProcess[str]":
        if command[0] == "git":
            return real(command, **options)
        started[:] = command
        assert not (here / ".git" / reference).exists(), "DVC would refuse the name"
        if how == "is interrupted":
            raise KeyboardInterrupt
        if how == "makes it":
            real(["git", "update-ref", reference, new], check=True)
        return subprocess.CompletedProcess(command, 0 if how == "makes it" else 1)

    monkeypatch.setattr("sys.argv", ["run_recipe", "quick"])
    real(["git", "update-ref", reference, head], check=True)
    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises((SystemExit, KeyboardInterrupt)):
        run_recipe.main()
    expected = ["--name", "quick", "-S", "pretrain.lr=0.5", "-S", "load.source='two words.jsonl'"]
    assert started[-7:] == [*expected, "report"]
    said = capsys.readouterr()
    assert "replaces the experiment quick of this commit" in said.out
    assert ("stays as it was" in said.err) == (how != "makes it")
    now = subprocess.check_output(["git", "rev-parse", reference], encoding="utf-8").strip()
    assert now == (new if how == "makes it" else head)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(("statuses", "tried"), [([0, 0], [3, 7]), ([1, 0], [3])])
def test_a_recipe_runs_once_for_each_seed(
    monkeypatch: pytest.MonkeyPatch, statuses: list[int], tried: list[int]
) -> None:
    ran: dict[str, dict[str, Any]] = {}

    def run_experiment(name: str, leaves: dict[str, Any]) -> int:
        ran[name] = leaves
        return statuses[len(ran) - 1]

    monkeypatch.setattr("sys.argv", ["run_recipe", "else", "--seeds=3,7"])
    monkeypatch.setattr(run_recipe, "run_experiment", run_experiment)
    with pytest.raises(SystemExit) as end:
        run_recipe.main()
    assert ran == {f"else-seed-{seed}": {"pretrain.seed": seed} for seed in tried}
    assert end.value.code == max(statuses)


@pytest.mark.parametrize("text", ["one", "1,", "1, 2", "-1", "1;2", "１"])
def test_a_seed_that_is_no_number_is_named(text: str) -> None:
    with pytest.raises(NanopoetError, match=r"SEEDS = .* is not allowed: numbers"):
        read_seeds(text)


def test_make_hands_over_all_seeds_at_once() -> None:
    """With a space between them, the tool refuses them; each by itself would replace the last."""
    make = ["make", "-n", "run", "RECIPE=notebook", "SEEDS=1, 2 3"]
    shown = subprocess.run(make, cwd=ROOT, capture_output=True, encoding="utf-8", check=True).stdout
    [command] = [line for line in shown.splitlines() if "tools.run_recipe" in line]
    assert shlex.split(command)[-1] == "--seeds=1, 2 3"


@pytest.mark.usefixtures("here")
def test_a_missing_name_or_commit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["run_recipe"])
    with pytest.raises(NanopoetError, match="name a recipe"):
        run_recipe.main()
    subprocess.run(["git", "update-ref", "-d", "HEAD"], check=True)
    monkeypatch.setattr("sys.argv", ["run_recipe", "else"])
    with pytest.raises(NanopoetError, match="no commit"):
        run_recipe.main()


@pytest.mark.usefixtures("here")
def test_a_source_that_the_copy_will_lack_is_named() -> None:
    for name in ("fresh.jsonl", "[a] *.jsonl", ":(x).jsonl", "唐诗.jsonl"):
        Path(name).touch()
        with pytest.raises(NanopoetError, match=r"git does not track it.*`git add` or `dvc add`"):
            check_tracked(name)
        subprocess.run(["git", "--literal-pathspecs", "add", name], check=True)
        check_tracked(name)
    Path("folder").mkdir()
    Path("folder/a.json").touch()
    with pytest.raises(NanopoetError, match="'folder'"):
        check_tracked("folder")
    subprocess.run(["git", "add", "folder"], check=True)
    Path(".gitignore").write_text(".DS_Store\nhidden\n")
    Path("folder/.DS_Store").touch()
    check_tracked("folder")
    Path("hidden").touch()
    with pytest.raises(NanopoetError, match="'hidden'"):
        check_tracked("hidden")
    subprocess.run(["git", "rm", "-q", "--cached", "folder/a.json"], check=True)
    Path("folder.dvc").touch()
    check_tracked("folder")
    check_tracked("folder/a.json")


@pytest.mark.usefixtures("here")
def test_what_dvc_makes_or_finds_anywhere_is_no_matter(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    Path("raw").mkdir()
    Path("raw/x.tgz").touch()
    outside = tmp_path_factory.mktemp("outside") / "x.jsonl"
    outside.touch()
    for name in ("raw/x.tgz", str(outside), "missing.jsonl"):
        check_tracked(name)
    with pytest.raises(NanopoetError, match=f"full path {outside}$"):
        check_tracked(os.path.relpath(outside))
