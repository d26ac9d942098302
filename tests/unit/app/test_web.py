"""The service behind the page that `nanopoet serve` opens."""

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from nanopoet.models.sampling import Sampling
from nanopoet.prosody.annotate import mark
from nanopoet.prosody.rhyme import groups
from nanopoet.prosody.rules import Verse
from nanopoet.writing.refused import RefusedError
from nanopoet.writing.request import Request
from nanopoet.writing.write import Progress
from tests.support.web import (
    LONG,
    POEM,
    Scripted,
    ask,
    finetuned_writer,
    pretrained_writer,
    served,
)

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def scripted_address() -> Iterator[str]:
    with served(Scripted(POEM)) as address:
        yield address


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The address of a page with a model that takes authors, tunes and titles."""
    with served(finetuned_writer()) as address:
        yield address


@pytest.fixture(scope="module")
def pretrained_address() -> Iterator[str]:
    with served(pretrained_writer()) as address:
        yield address


def write(address: str, **wishes: Any) -> list[str]:
    """Return the texts of the poems for a request that is not refused."""
    status, events = ask(address, wishes)
    assert status == 200
    assert events[-1]["event"] == "poem", events[-1]
    return [event["text"] for event in events if event["event"] == "poem"]


@pytest.fixture(autouse=True)
def many_drafts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show poems as they grow, however fast."""
    monkeypatch.setattr("nanopoet.app.batching.PACE", 0.001)


def test_a_poem_comes_as_it_grows_and_then_marked() -> None:
    writer = Scripted(POEM, LONG[:16])
    writer.seconds = 0.01
    with served(writer) as address:
        status, events = ask(address, {"opening": "白日", "count": 2})
    assert status == 200
    texts = [event["text"] for event in events]
    drafts = texts[: texts.index(POEM)]
    assert len(drafts) > 2
    assert all(POEM.startswith(draft) for draft in drafts)
    assert drafts == sorted(set(drafts), key=len)
    assert next(event for event in events if event["event"] == "poem") == {
        "event": "poem",
        "text": POEM,
        "form": "五绝",
        "tune": None,
        "rhyme": True,
        "regulated": True,
        "lines": mark(POEM),
    }
    assert events[-1]["text"] == LONG[:16]
    assert events[-1]["form"] is None


def test_a_beginning_streams_and_the_seed_says_what_comes(address: str) -> None:
    wish = {"opening": "春", "count": 2, "top_k": 9, "max_new_tokens": 12}
    first, again, other = (write(address, **wish, seed=seed) for seed in (3, 3, 4))
    assert first == again != other
    assert len(first) == 2
    assert all(poem.startswith("春") and 1 < len(poem) <= 13 for poem in first)
    _, events = ask(address, wish | {"seed": 3})
    drafts = [event["text"] for event in events if event["event"] == "draft"]
    assert drafts[0].startswith("春")
    assert all(any(poem.startswith(draft) for poem in first) for draft in drafts)


def test_each_wish_is_satisfied(address: str) -> None:
    [poem] = write(address, form="五绝", author="苏轼", title="静夜思", keep_rules=True, seed=1)
    verse = Verse.of(poem)
    assert (verse.form, verse.rhyme, verse.regulated) == ("五言绝句", True, True)
    [poem] = write(address, form="七绝", acrostic="山月？天", opening="山光")
    assert poem.startswith("山光")
    assert [line[0] for i, line in enumerate(Verse.of(poem).lines) if i != 2] == ["山", "月", "天"]
    [poem] = write(address, form="五绝", rhyme="東", rhyme_from="空中風山")
    ends = [line[-1] for line in Verse.of(poem).lines[1::2]]
    assert all("上平聲一東" in groups(end) and end in "空中風" for end in ends)
    [poem] = write(address, form="五绝", rhyme_characters="空？", keywords=["月夜", "水"])
    assert Verse.of(poem).lines[1].endswith("空")
    assert "月夜" in poem
    assert "水" in poem
    [poem] = write(address, draft="山光，？？？。")
    assert re.fullmatch("山光，...。", poem)


def test_a_tune_comes_with_its_name_and_a_note_says_what_was_understood(address: str) -> None:
    _, events = ask(address, {"form": "浣溪沙", "title": "静夜思"})
    assert events[0] == {
        "event": "note",
        "field": "title",
        "given": "静夜思",
        "understood": "靜夜思",
        "text": "title = 静夜思 was understood as 靜夜思",
    }
    assert events[-1]["tune"] == "浣溪沙"
    assert [len(line) for line in events[-1]["lines"]] == [7, 3]
    assert [event["event"] for event in events].count("note") == 1


def test_a_poem_is_a_draft_as_it_is(address: str) -> None:
    """？ is a mark beside ■, and characters of both scripts stay."""
    [poem] = write(address, draft="看水？山■。绝絕。")
    assert re.fullmatch("看水？山.。绝絕。", poem)
    assert ask(address, {"draft": "山光？水■。", "form": "五绝"}) == (
        400,
        [
            {
                "error": "no poem for 五绝 can be so: the draft does not fit: line 1 has 2 "
                "characters, not 5",
                "error_zh": "没有这样的五绝：补字不合句式：第 1 句有 2 个字，应为 5 个",
            }
        ],
    )


def test_older_names_are_understood(address: str) -> None:
    wish = {"form": None, "seed": 5, "max_new_tokens": 9}
    assert write(address, prompt="山", **wish) == write(address, opening="山", **wish)
    status, [answer] = ask(address, {"prompt": "山", "opening": "山"})
    assert (status, answer["error"]) == (
        400,
        "prompt is an older name of opening: give one of them",
    )


def test_the_request_has_the_fields_of_request_and_sampling(address: str) -> None:
    _, [answer] = ask(address, {"metre": 1})
    known = answer["error"].removeprefix("'metre' is unknown: known are ").split(", ")
    assert set(known) == {*Request.model_fields, *Sampling.model_fields}


class Failing(Scripted):
    """A writer that finds no poem."""

    def write(self, *_: Any) -> Iterator[Progress]:
        yield Progress(("山",), finished=False)
        raise RefusedError("no poem was found", "没有写成")


def test_if_no_poem_is_found_the_answer_ends_with_it() -> None:
    with served(Failing(POEM)) as address:
        status, events = ask(address, {"count": 3})
    assert status == 200
    assert events[-1] == {
        "event": "error",
        "error": "no poem was found",
        "error_zh": "没有写成",
    }
    assert [event["event"] for event in events].count("error") == 1


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"{", 400, "the request is not JSON"),
        ([], 400, "the request must be an object of nothing but "),
        ({"temprature": 1}, 400, "'temprature' is unknown: known are "),
        ({"opening": 1}, 400, "opening = 1 is not allowed: it must be a text (how"),
        ({"prompt": "山" * 301}, 400, "opening = '山山"),
        (b'{"opening": "\\ud800"}', 400, "the request is not JSON"),
        (
            {"form": "十四行"},
            400,
            "form = 十四行 is neither 五绝、七绝、五律、七律 nor a known tune",
        ),
        ({"form": ["五绝"]}, 400, "form = ['五绝'] is not allowed"),
        ({"form": "五绝", "opening": "山水，日"}, 400, "the opening does not fit: line 1 has 2"),
        ({"form": "五绝", "opening": "鬱"}, 400, "opening = 鬱 has 鬱, which the training poems"),
        ({"author": "蘇東坡"}, 400, "no training poem is by 蘇東坡: nearest are 蘇"),
        ({"form": "五绝", "acrostic": "山水月"}, 400, "give one for each line, 4"),
        ({"form": "五绝", "rhyme": "東風"}, 400, "rhyme = 東風 is no group of the 平水韻"),
        (
            {"form": "五绝", "keywords": ["山光水長江鄉"]},
            400,
            "is longer than a line: give at most 5",
        ),
        ({"form": "五绝", "keywords": "山"}, 400, "keywords = '山' is not allowed"),
        ({"keep_rules": 1}, 400, "keep_rules = 1 is not allowed"),
        ({"count": 11}, 400, "count = 11 is not allowed: 1 to 10 (poems to write)"),
        ({"count": 1.5}, 400, "count = 1.5 is not allowed: it must be a whole number, 1 to"),
        ({"count": True}, 400, "count = True is not allowed"),
        ({"top_p": 0}, 400, "top_p = 0 is not allowed: 1e-06 to 1"),
        ({"temperature": "0.8"}, 400, "temperature = '0.8' is not allowed: it must be a number, 0"),
        ({"w" * 9000: 1}, 400, "www' is unknown: known are "),
        (b'{"temperature": 1e400}', 400, "temperature = inf is not allowed: 0 to 10"),
        (b'{"seed": 1%s}' % (b"0" * 5000), 400, "the request is not JSON: number out of range"),
        ({"top_k": None}, 400, "top_k = None is not allowed: it must be a whole number, 0 to"),
        (b'{"temperature": NaN}', 400, "temperature = nan is not allowed: 0 to 10"),
        ({"seed": -1}, 400, "seed = -1 is not allowed: 0 to 4294967295"),
        ({"opening": " " * 20_000}, 413, "the body must have at most 16384 bytes"),
    ],
)
def test_what_is_not_allowed_gets_one_sentence(
    address: str, body: Any, status: int, message: str
) -> None:
    answer = ask(address, body)
    assert answer[0] == status
    error = answer[1][0]["error"]
    assert message in error
    assert "\n" not in error
    assert len(error) < 300


@pytest.mark.parametrize("field", ["author", "title", "form"])
def test_a_pretrained_model_takes_no_author_title_or_tune(
    pretrained_address: str, field: str
) -> None:
    status, [answer] = ask(pretrained_address, {field: "山水"})
    assert status == 400
    assert "a pretrained model takes no" in answer["error"] or "without tunes" in answer["error"]
    assert write(pretrained_address, form="五绝", keep_rules=True)
    assert names(pretrained_address, "authors", "") == []


def names(address: str, what: str, part: str) -> list[dict[str, Any]]:
    url = f"{address}{what}?search={urllib.parse.quote(part)}"
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310
        found: list[dict[str, Any]] = json.load(answer)
        return found


def test_names_are_found_by_a_part_in_either_script(address: str) -> None:
    su = [{"name": "蘇軾", "poems": 4}, {"name": "蘇轍", "poems": 2}]
    assert names(address, "authors", "苏") == names(address, "authors", " 蘇") == su
    assert names(address, "authors", "轼") == su[:1]
    assert [found["name"] for found in names(address, "authors", "")] == ["蘇軾", "李白", "蘇轍"]
    assert names(address, "tunes", "溪") == [{"name": "浣溪沙", "poems": 4}]
    assert names(address, "tunes", "蘇") == []


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        ("poem", 404, "nothing is at /poem: there are /, /poems, /authors, /tunes"),
        ("poems", 405, "/poems does not take GET: use POST"),
    ],
)
def test_another_address_is_answered_with_those_that_are_there(
    address: str, path: str, status: int, sentence: str
) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(address + path)  # noqa: S310
    with refused.value as answer:
        assert (answer.code, json.load(answer)) == (status, {"error": sentence})


def test_other_pages_cannot_ask(scripted_address: str) -> None:
    status, [answer] = ask(scripted_address, {}, **{"Content-Type": "text/plain"})
    assert (status, answer) == (415, {"error": "the body must be application/json"})
    kind = "APPLICATION/JSON ; charset=utf-8"
    assert ask(scripted_address, {}, **{"Content-Type": kind})[0] == 200
    with pytest.raises(urllib.error.HTTPError, match="400") as refused:
        urllib.request.urlopen(  # noqa: S310
            urllib.request.Request(scripted_address, headers={"Host": "a.example"})  # noqa: S310
        )
    refused.value.close()


def test_the_page_may_run_its_own_script_and_nothing_else(address: str) -> None:
    with urllib.request.urlopen(address) as answer:  # noqa: S310
        page, policy = answer.read().decode(), answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert not re.search(
        r"""\son\w+\s*=|\sstyle=|(?:src|href)=["'](?!data:,)|@import|url\(""", page
    )
