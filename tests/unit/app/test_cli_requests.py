"""`nanopoet write` with a request, and `nanopoet.write`."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

import nanopoet
from nanopoet.app.cli import main
from nanopoet.common.text import as_lines
from nanopoet.prosody.rules import Verse
from nanopoet.writing.catalogue import CATALOGUE
from tests.support.project import ROOT
from tests.support.writing import save_poets

SAID = "nanopoet: models/finetuned is the model; --model names another\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a pretrained and a finetuned model."""
    save_poets(tmp_path / "models")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _written(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main(["write", "--seed", "3", *arguments]) == 0
    out, err = capsys.readouterr()
    assert err == ("" if "--model" in arguments else SAID)
    return [poem.replace("\n", "") for poem in out.strip().split("\n\n")]


@pytest.mark.parametrize("model", ["models/poet", "models/finetuned"])
def test_poems_are_what_was_asked_for(
    home: Path, capsys: pytest.CaptureFixture[str], model: str
) -> None:
    options = ["--form", "五绝", "--keep-rules", "--acrostic", "山月？天", "--model", model]
    poems = _written(capsys, *options, "--count", "3")
    assert len(poems) == 3
    for poem in poems:
        verse = Verse.of(poem)
        assert verse.form == "五言绝句"
        assert (verse.rhyme, verse.regulated, verse.rhyme_distinct) == (True, True, True)
        assert [line[0] for i, line in enumerate(verse.lines) if i != 2] == ["山", "月", "天"]
    assert home == Path.cwd()


def test_the_finetuned_model_writes_if_it_is_there(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--author", "李白", "--form", "小令", "--title", "月"]
    [poem] = _written(capsys, *options)
    assert [len(line) for line in Verse.of(poem).lines] == [2, 2]
    assert [poem] == _written(capsys, *options, "--model", str(home / "models/finetuned"))


def test_the_best_model_writes(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Reinforced, finetuned, pretrained, with and without a wish."""
    named = {name: f"models/{name}" for name in ("reinforced", "finetuned", "poet")}
    (home / named["finetuned"]).rename(home / "kept")
    for name in ("poet", "finetuned", "reinforced"):
        if name != "poet":
            shutil.copytree(home / "kept", home / named[name])
        for wishes in ([], ["--form", "五绝"]):
            assert main(["write", "--seed", "3", *wishes]) == 0
            said = capsys.readouterr().err
            assert (named[name] in said) == (name != "poet")
            assert len(said.splitlines()) == (name != "poet")


def test_the_page_takes_the_finetuned_model_if_it_is_there(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known: list[bool] = []
    monkeypatch.setattr(
        "nanopoet.app.web.serve", lambda writer, *_: known.append(writer.catalogue is not None)
    )
    assert main(["serve"]) == main(["serve", "--model", "models/poet"]) == 0
    shutil.rmtree(home / "models/finetuned")
    assert main(["serve"]) == 0
    assert known == [True, False, False]


def test_the_page_knows_the_loss_of_its_model(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    known: list[float | None] = []
    monkeypatch.setattr("nanopoet.app.web.serve", lambda writer, *_: known.append(writer.nats))
    history = home / "models/poet/evaluations.csv"
    assert main(["serve", "--model", "models/poet"]) == 0
    history.write_text("step,tokens,loss_val\n0,9,9.5\n7,72,4.25\n", encoding="utf-8")
    assert main(["serve", "--model", "models/poet"]) == 0
    assert known == [None, 4.25]
    history.write_text("step\n", encoding="utf-8")
    assert main(["serve", "--model", "models/poet"]) == 1
    assert "models/poet/evaluations.csv: damaged (" in capsys.readouterr().err


def test_a_prompt_is_the_opening_of_a_request(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = _written(capsys, "山光", "水", "--form", "五绝")
    assert first.startswith("山光")
    assert second.startswith("水")
    assert Verse.of(first).form == Verse.of(second).form == "五言绝句"
    assert home == Path.cwd()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--form", "七古"], "七古"),
        (["--author", "李白", "--model", "models/poet"], "a pretrained model takes no author"),
        (["--author", "李太白"], "李白"),
        (["--form", "五绝", "--acrostic", "山水月"], "give one for each line, 4"),
        (["--form", "五绝", "--keyword", "山光水長江鄉"], "longer than a line"),
        (["--form", "五绝", "--rhyme", "東風"], "東風"),
        (["鬱", "--form", "五绝"], "鬱"),
        (["山光，水月", "--form", "五绝"], "opening"),
        (["--form", "五" * 31], "--form '五五"),
        (["--form", "五绝", "--rhyme-characters", "山"], "characters 山 has 1 character: give"),
        (["--form", "五绝", "--keyword", ""], "--keyword '' is not allowed: it must not be em"),
        (["--draft", "山光水", "--keep-rules"], "--keep-rules is for regular forms and tunes"),
        (["--form", "五绝", "--acrostic", "山\u200b水月"], "--acrostic 山U+200B水月 has U+200B"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    home: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main(["write", *options]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: nanopoet write: ")
    assert message in err
    assert err.count("\n") == 1
    assert home == Path.cwd()


def test_what_was_understood_otherwise_is_said(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["write", "长", "--form", "五绝", "--model", str(home / "models/poet")]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("長")
    assert err == "note: prompt 长 was understood as 長\n"


def test_the_documented_requests_are_written(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs/command.md").read_text(encoding="utf-8")
    [block] = re.findall(r"```sh\n(.*?)```", page, re.S)
    assert len(block.splitlines()) == 5
    for line in block.splitlines():
        name, command, *options = shlex.split(line)
        assert (name, command) == ("nanopoet", "write")
        assert main([command, *options]) == 0, capsys.readouterr().err
    [code] = re.findall(r"```python\n(.*?)```", page, re.S)
    exec(compile(code, "docs/command.md", "exec"), {})  # noqa: S102
    assert capsys.readouterr().out.count("。") >= 2 * 5
    assert home == Path.cwd()


def test_the_documented_options_are_those_of_the_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = (ROOT / "docs/command.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"`(--[a-z-]+)`", page.split("| option |")[1].split("\n\n")[0]))
    with pytest.raises(SystemExit):
        main(["write", "--help"])
    asked = capsys.readouterr().out.split("what the poem shall be:")[1]
    assert documented == set(re.findall(r"^  (--[a-z-]+)", asked, re.M))


def test_python_writes_the_same(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    poems = nanopoet.write(form="五绝", author="杜甫", keywords=["明月"[1:]], count=2, seed=3)
    options = ["--form", "五绝", "--author", "杜甫", "--keyword", "月", "--count", "2"]
    assert _written(capsys, *options) == [as_lines(poem).replace("\n", "") for poem in poems]
    assert all("月" in poem for poem in poems)
    assert nanopoet.write(home / "models/poet", form="五绝", seed=3) != poems[:1]


def test_python_refuses_an_unknown_wish(home: Path) -> None:
    with pytest.raises(
        nanopoet.NanopoetError, match=r"'metre' is unknown: .* form, .* seed, count"
    ):
        nanopoet.write(home / "models/poet", metre="五绝")


def test_a_finetuned_folder_without_its_catalogue_is_named(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "models/finetuned" / CATALOGUE).unlink()
    assert main(["write", "--form", "五绝"]) == 1
    expected = "models/finetuned/catalogue.json: no such file; run `make finetune`"
    assert expected in capsys.readouterr().err
