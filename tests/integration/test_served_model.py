"""The model that MLflow serves: the same requests as the command takes, a row each."""

import json
import re
import shlex
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from nanopoet import write
from nanopoet.models.generate import generate
from nanopoet.prosody.rhyme import groups
from nanopoet.prosody.rules import Verse
from nanopoet.tokens.fields import encode_prompt
from nanopoet.writing.folder import load_poet
from nanopoet.writing.request import Request
from tests.support.project import ROOT
from tests.support.writing import save_poets

with warnings.catch_warnings():  # MLflow is not free of warnings
    warnings.simplefilter("ignore")
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.pyfunc import PyFuncModel, load_model, save_model
    from mlflow.pyfunc.scoring_server import invocations

    from stages.tracking import served_model

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    save_poets(folder)
    return folder


@pytest.fixture(scope="module", params=["poet", "finetuned"])
def each(folder: Path, request: pytest.FixtureRequest) -> tuple[Path, PyFuncModel]:
    """A model folder, and its model as MLflow stores and loads it."""
    return folder / request.param, _stored(folder / request.param)


@pytest.fixture(scope="module")
def finetuned(folder: Path) -> PyFuncModel:
    return _stored(folder / "finetuned")


def _stored(folder: Path) -> PyFuncModel:
    stored = folder.parent / f"stored-{folder.name}"
    if not stored.exists():
        save_model(
            stored,
            python_model=served_model.__file__,
            artifacts={"poet": str(folder)},
            signature=served_model.SIGNATURE,
            input_example=served_model.INPUT_EXAMPLE,
            pip_requirements=list(served_model.REQUIREMENTS),
        )
    return load_model(str(stored))


def _post(model: PyFuncModel, body: dict[str, Any]) -> list[dict[str, str]]:
    """Ask a model as its HTTP server does."""
    schema = served_model.SIGNATURE.inputs
    answer = invocations(json.dumps(body), "application/json", model, schema)  # type: ignore[no-untyped-call]
    assert answer.status == 200
    rows: list[dict[str, str]] = json.loads(answer.response)["predictions"]
    return rows


def _ask(model: PyFuncModel, *rows: dict[str, Any], **params: Any) -> list[str]:
    answer = _post(model, {"dataframe_records": rows, "params": params})
    return [row["poem"] for row in answer]


def _predict(model: PyFuncModel, rows: pd.DataFrame, params: dict[str, Any]) -> list[str]:
    answer = model.predict(rows, params)
    assert isinstance(answer, pd.DataFrame)
    return list(answer["poem"])


def test_the_input_has_a_column_for_each_wish() -> None:
    columns = served_model.SIGNATURE.inputs
    names = {*Request.model_fields} - {"opening"} | {"prompt"}
    assert set(columns.input_names()) == names
    assert columns.required_input_names() == ["prompt"]


@pytest.mark.parametrize(
    ("wishes", "pattern"),
    [
        ({"form": "五绝"}, "(.{5}[，。]){4}"),
        ({"rhyme": "東", "form": "五绝"}, "(.{5}[，。].{4}[東風空中][，。]){2}"),
        ({"rhyme_characters": "東？", "form": "五绝"}, ".{10,11}東.*"),
        ({"rhyme_from": "東中", "form": "五绝"}, "(.{5}[，。].{4}[東中][，。]){2}"),
        (
            {"acrostic": "山？月天", "form": "五绝"},
            "山.{4}[，。].{5}[，。]月.{4}[，。]天.{4}[，。]",
        ),
        ({"keywords": ["春花", "山"], "form": "五绝"}, "(?=.*春花)(?=.*山).*"),
        ({"draft": "山光，？月。"}, "山光，.月。"),
        ({"prompt": "春", "form": "七绝"}, "(?=春)(.{7}[，。]){4}"),
        ({"form": "五绝", "keep_rules": True}, "(.{5}[，。]){4}"),
    ],
)
def test_each_wish_is_satisfied_as_by_the_command(
    each: tuple[Path, PyFuncModel], wishes: dict[str, Any], pattern: str
) -> None:
    path, model = each
    poems = _ask(model, {"prompt": ""} | wishes, seed=3, count=2)
    for poem in poems:
        assert re.fullmatch(pattern, poem), poem
        if "keep_rules" in wishes:
            verse = Verse.of(poem)
            assert (verse.rhyme, verse.regulated, verse.rhyme_distinct) == (True, True, True)
        if "rhyme" in wishes:
            assert all("上平聲一東" in groups(line[-1]) for line in Verse.of(poem).lines[1::2])
    named = {"opening" if n == "prompt" else n: value for n, value in wishes.items()}
    assert poems == write(path, **named, seed=3, count=2)


def test_a_finetuned_model_takes_tunes_authors_and_titles(
    folder: Path, finetuned: PyFuncModel
) -> None:
    wishes = {"form": "小令", "author": "李白", "title": "山"}
    [poem] = _ask(finetuned, {"prompt": ""} | wishes, seed=3)
    assert re.fullmatch("..[，。]..。", poem)
    assert [poem] == write(folder / "finetuned", **wishes, seed=3)
    named = [_ask(finetuned, {"prompt": "", "author": author}) for author in ("李白", "杜甫", "")]
    assert len({*map(tuple, named)}) == 3


def test_what_asks_for_nothing_is_written_as_before_requests(
    each: tuple[Path, PyFuncModel],
) -> None:
    path, stored = each
    model, tokenizer, _ = load_poet(path)
    generator = torch.Generator().manual_seed(5)
    expected = []
    for prompt in ("春", ""):
        begin = encode_prompt(prompt, tokenizer, takes_fields=model.takes_fields)
        ids = torch.tensor([begin]).expand(2, -1)
        stop = model.stop_id
        texts = generate(model, ids, max_new_tokens=9, generator=generator, stop_id=stop)
        expected += [tokenizer.decode_poem(row) for row in texts.tolist()]
    params = {"seed": 5, "count": 2, "max_new_tokens": 9}
    assert _ask(stored, {"prompt": "春"}, {"prompt": ""}, **params) == expected
    empty: dict[str, Any] = {
        "form": "",
        "author": None,
        "keywords": [],
        "keep_rules": False,
        "draft": None,
    }
    assert _ask(stored, {"prompt": "春"} | empty, {"prompt": ""}, **params) == expected


@pytest.mark.parametrize("way", ["HTTP", "Python"])
def test_a_cell_that_a_row_leaves_out_asks_for_nothing(finetuned: PyFuncModel, way: str) -> None:
    """Pandas fills it with NaN, which is true, no text and no list."""
    rows: list[dict[str, Any]] = [
        {"prompt": "", "form": "五绝", "keep_rules": True, "acrostic": None},
        {"prompt": "春", "keywords": ["山月"], "form": "五绝"},
        {"prompt": "山"},
    ]
    params: dict[str, Any] = {"max_new_tokens": 3}
    if way == "HTTP":
        first, second, third = _ask(finetuned, *rows, **params)
    else:
        first, second, third = _predict(finetuned, pd.DataFrame(rows), params)
    assert Verse.of(first).regulated
    assert Verse.of(second).form == "五言绝句"
    assert second.startswith("春")
    assert "山月" in second
    assert third.startswith("山")
    assert len(third) <= 4
    assert not Verse.of(third).form


def test_simplified_characters_are_understood(each: tuple[Path, PyFuncModel]) -> None:
    _, model = each
    for wishes in ({}, {"form": "五绝"}):
        [row] = _post(model, {"dataframe_records": [{"prompt": "长风"} | wishes]})
        assert row["prompt"] == "长风"
        assert row["poem"].startswith("長風")


@pytest.mark.parametrize(
    ("wishes", "problem"),
    [
        ({"form": "九绝"}, "form = 九绝 is neither 五绝、七绝、五律、七律 nor a known tune"),
        ({"form": 3}, "form = 3 is not allowed: it must be a text"),
        ({"form": "五绝", "keep_rules": "yes"}, "keep_rules = 'yes' is not allowed"),
        ({"keywords": "山月"}, "keywords = '山月' is not allowed: it must be a list"),
        ({"form": "五绝", "keywords": ["山月天風東空"]}, "keywords = 山月天風東空 is longer than"),
        ({"form": "五绝", "prompt": "山" * 301}, "prompt = '山山山"),
        ({"form": "五绝", "prompt": "鬱"}, "prompt = 鬱 has 鬱, which the training poems lack"),
        ({"author": "王維"}, "no training poem is by 王維: known are 李白、杜甫"),
        ({"rhyme": "東西", "form": "五绝"}, "rhyme = 東西"),
    ],
)
def test_a_refused_request_is_one_sentence(
    finetuned: PyFuncModel, wishes: dict[str, Any], problem: str
) -> None:
    with pytest.raises(MlflowException) as error:
        _ask(finetuned, {"prompt": ""} | wishes)
    assert error.value.error_code == "INVALID_PARAMETER_VALUE"
    assert error.value.get_http_status_code() == 400  # type: ignore[no-untyped-call]
    sentence = error.value.message.split("\nError: ")[1]
    assert sentence.startswith(problem)
    assert "\n" not in sentence


def test_a_pretrained_model_says_that_it_takes_no_author(folder: Path) -> None:
    with pytest.raises(MlflowException, match="a pretrained model takes no author"):
        _ask(_stored(folder / "poet"), {"prompt": "", "author": "李白"})


def test_the_documented_requests_are_answered(finetuned: PyFuncModel) -> None:
    page = (ROOT / "docs/experiments.md").read_text(encoding="utf-8")
    bodies = [
        json.loads(shlex.split(block)[-1])
        for block in page.split("```\n")[1::2]
        if block.startswith("curl ")
    ]
    assert [set(body["dataframe_records"][0]) > {"prompt"} for body in bodies] == [False, True]
    for body in bodies:
        poems = _post(finetuned, body)
        count = body["params"]["count"]
        assert len(poems) == len(body["dataframe_records"]) * count
        for row, poem in zip(body["dataframe_records"], poems[::count], strict=True):
            assert poem["poem"].startswith(row["prompt"])
            assert Verse.of(poem["poem"]).regulated or "keep_rules" not in row


def test_the_example_in_mlflow_has_all_columns_and_goes_with_any_vocabulary(
    each: tuple[Path, PyFuncModel],
) -> None:
    """MLflow prints a warning if it does not."""
    path, model = each
    rows, params = served_model.INPUT_EXAMPLE
    assert list(rows) == served_model.SIGNATURE.inputs.input_names()
    _, tokenizer, _ = load_poet(path)
    assert tokenizer.unknown(rows["prompt"][0])
    [poem] = _predict(model, rows, params)
    assert poem


@pytest.mark.parametrize("traces", ["true", "false"])
def test_served_poems_are_traces_if_asked_for(
    folder: Path, at: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, traces: str
) -> None:
    """The variables are those of docs/experiments.md, which a server hands on to the model."""
    page = (ROOT / "docs/experiments.md").read_text(encoding="utf-8")
    [line] = re.findall("^NANOPOET_TRACES=.*(?= )", page, re.M)
    at(tmp_path)
    for variable in shlex.split(line):
        monkeypatch.setenv(*variable.split("=", 1))
    monkeypatch.setenv("NANOPOET_TRACES", traces)
    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    experiment = mlflow.create_experiment("nanopoet", tmp_path.as_uri())
    model = _stored(folder / "poet")
    first, second = _ask(model, {"prompt": "山"}, {"prompt": "", "form": "五绝"}, count=1)
    mlflow.flush_trace_async_logging()
    found = mlflow.search_traces(locations=[experiment], return_type="list")
    if traces == "false":
        assert found == []
        return
    spans = sorted((trace.data.spans[0] for trace in found), key=lambda span: span.start_time_ns)
    assert [span.outputs for span in spans] == [[first], [second]]
    assert [span.inputs["prompt"] for span in spans] == ["山", ""]
    assert spans[1].inputs["request"]["form"] == "五绝"
