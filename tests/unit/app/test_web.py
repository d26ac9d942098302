"""The service behind the page that `nanopoet serve` opens."""

import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from nanopoet.app.web import MOST_CANDIDATES
from nanopoet.app.writer import Writer
from nanopoet.prosody.annotate import mark
from tests.support.models import tiny_model
from tests.support.web import LONG, POEM, Scripted, ask, served

pytestmark = pytest.mark.process


def test_a_poem_comes_character_by_character_and_then_marked() -> None:
    with served(Scripted(POEM, LONG)) as address:
        status, events = ask(address, {"prompt": "白日", "count": 2})
    assert status == 200
    first = events[: len(POEM) + 1]
    assert "".join(event["text"] for event in first[:-1]) == POEM
    assert [event["mark"] for event in first[:6]] == ["●", "●", "○", "○", "●", "?"]
    assert first[-1] == {
        "event": "poem",
        "text": POEM,
        "form": "五绝",
        "rhyme": True,
        "regulated": True,
        "lines": mark(POEM),
    }
    assert events[-1]["event"] == "poem"
    assert events[-1]["text"] == "白日" + LONG
    assert events[-1]["form"] is None


def test_a_real_model_writes_as_its_seed_says() -> None:
    wish = {"prompt": "春", "count": 2, "seed": 3, "top_k": 9, "max_new_tokens": 12}
    with served(Writer(*tiny_model())) as address:
        first, again, other = (ask(address, wish | {"seed": seed}) for seed in (3, 3, 4))
    assert first == again != other
    poems = [event["text"] for event in first[1] if event["event"] == "poem"]
    assert len(poems) == 2
    assert all(poem.startswith("春") and 1 < len(poem) <= 13 for poem in poems)


def test_candidates_are_tried_until_one_has_the_form() -> None:
    writer = Scripted(LONG, POEM[:12], POEM + POEM[:12], POEM, LONG)
    with served(writer) as address:
        _, events = ask(address, {"form": "五绝"})
    assert events[-1]["text"] == POEM
    assert {event["number"] for event in events[:-1]} == {1, 2, 3, 4}
    # The first is given up at its sixth character, the third at its fifth line.
    assert writer.written == 6 + 12 + 25 + 24


def test_if_no_candidate_has_the_form_it_says_so() -> None:
    with served(Scripted(POEM)) as address:
        status, events = ask(address, {"form": "七律", "count": 2})
    assert status == 200
    assert events.count({"event": "none", "candidates": MOST_CANDIDATES}) == 2
    assert {event["event"] for event in events} == {"candidate", "none"}


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"{", 400, "the body is not JSON"),
        ([], 400, "the body must be an object of nothing but max_new_tokens, temperature"),
        ({"temprature": 1}, 400, "'temprature' is unknown: known are max_new_tokens, temp"),
        ({"prompt": 1}, 400, "prompt = 1 is not allowed: a text of at most 1000 characters"),
        ({"prompt": "山" * 1001}, 400, "a prompt of 1001 characters is not allowed: at most 1000"),
        (b'{"prompt": "\\ud800"}', 400, "the body is not JSON"),
        ({"form": "十四行"}, 400, "form = '十四行' is not allowed: null, 五绝, 七绝, 五律, 七律"),
        ({"form": ["五绝"]}, 400, "form = ['五绝'] is not allowed"),
        ({"form": "五绝", "prompt": "白日依山盡黃"}, 400, "no 五绝 begins with '白日依山盡黃'"),
        ({"count": 11}, 400, "count = 11 is not allowed: 1 to 10 (poems to write)"),
        ({"count": 1.5}, 400, "count = 1.5 is not allowed: it must be a whole number, 1 to"),
        ({"count": True}, 400, "count = True is not allowed"),
        ({"top_p": 0}, 400, "top_p = 0 is not allowed: 1e-06 to 1"),
        ({"temperature": "0.8"}, 400, "temperature = '0.8' is not allowed: it must be a number, 0"),
        ({"w" * 9000: 1}, 400, "www' is unknown: known are max_new_tokens"),
        ({"form": "十\n" * 900}, 400, " is not allowed: null, 五绝"),
        (b'{"temperature": 1e400}', 400, "temperature = inf is not allowed: 0 to 10"),
        (b'{"seed": 1%s}' % (b"0" * 5000), 400, "the body is not JSON: number out of range"),
        ({"top_k": None}, 400, "top_k = None is not allowed: it must be a whole number, 0 to"),
        ({"temperature": "warm" * 1000}, 400, "it must be a number, 0 to 10"),
        (b'{"temperature": NaN}', 400, "temperature = nan is not allowed: 0 to 10"),
        ({"seed": -1}, 400, "seed = -1 is not allowed: 0 to 4294967295"),
        ({"prompt": " " * 20_000}, 413, "the body must have at most 16384 bytes"),
    ],
)
def test_what_is_not_allowed_gets_one_sentence(
    page_address: str, body: Any, status: int, message: str
) -> None:
    answer = ask(page_address, body)
    assert answer[0] == status
    error = answer[1][0]["error"]
    assert message in error
    assert "\n" not in error
    assert len(error) < 200


@pytest.fixture(scope="module")
def page_address() -> Iterator[str]:
    with served(Scripted(POEM)) as address:
        yield address


def test_other_pages_cannot_ask(page_address: str) -> None:
    status, [answer] = ask(page_address, {}, **{"Content-Type": "text/plain"})
    assert (status, answer) == (415, {"error": "the body must be application/json"})
    with pytest.raises(urllib.error.HTTPError, match="400") as refused:
        urllib.request.urlopen(  # noqa: S310
            urllib.request.Request(page_address, headers={"Host": "poems.example"})  # noqa: S310
        )
    refused.value.close()


def test_the_page_may_run_its_own_script_and_nothing_else(page_address: str) -> None:
    with urllib.request.urlopen(page_address) as answer:  # noqa: S310
        page, policy = answer.read().decode(), answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert not re.search(
        r"""\son\w+\s*=|\sstyle=|(?:src|href)=["'](?!data:,)|@import|url\(""", page
    )
