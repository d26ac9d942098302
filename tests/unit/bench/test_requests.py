"""Measures of poems that must be as asked, with a random model."""

from pathlib import Path

import pytest

from bench import requests
from nanopoet.common.errors import NanopoetError
from nanopoet.corpus.poems import Poem, write_poems
from nanopoet.prosody.rules import Verse
from nanopoet.tokens.tokenizer import CharTokenizer
from nanopoet.writing.catalogue import Catalogue
from nanopoet.writing.folder import Poet
from tests.support.writing import COMMON, TUNE_POEMS, peaked_model


@pytest.fixture
def poet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Poet:
    """A random model that takes fields, beside training poems of its characters."""
    poems = [Poem(content=text, title="", author="李白", style="如梦令") for text in TUNE_POEMS]
    (tmp_path / "data").mkdir()
    write_poems(tmp_path / "data/train.jsonl", [Poem(**(poems[0] | {"content": COMMON}))])
    monkeypatch.chdir(tmp_path)
    known = "".join(TUNE_POEMS) + COMMON + "，李白月夜春夏秋冬七言绝句如梦令"
    tokenizer = CharTokenizer.from_characters(known)
    model = peaked_model(tokenizer, block_size=64)
    model.takes_fields = True
    return model, tokenizer, Catalogue.of(poems)


def test_poems_are_counted_that_are_as_asked(poet: Poet) -> None:
    rules = requests.measure_rules(poet, 2)
    assert [(each["poems"], each["kept"]) for each in rules.values()] == [(2, 2)] * 4
    tunes = requests.measure_tunes(poet, 1)
    assert (tunes["tunes"], tunes["poems"], tunes["attested"]) == (1, 1, 1)
    assert 0 < tunes["median_seconds"] <= tunes["p95_seconds"]


def test_a_poem_that_breaks_a_rule_is_not_counted(
    poet: Poet, monkeypatch: pytest.MonkeyPatch
) -> None:
    unregulated = "床前明月光，疑是地上霜。舉頭望明月，低頭思故鄉。"
    assert Verse.of(unregulated).form
    monkeypatch.setattr(requests, "write_poems", lambda *_: [unregulated])
    assert requests.measure_rules(poet, 2)["五绝"]["kept"] == 0
    assert requests.measure_tunes(poet, 1)["attested"] == 0


def test_refused_acrostics_are_named(poet: Poet, monkeypatch: pytest.MonkeyPatch) -> None:
    found = requests.measure_acrostics(poet, 2)
    assert found["kept"] + len(found["refused"]) == 2

    def refuse(*_: object) -> list[str]:
        raise NanopoetError("no poem can be so")

    monkeypatch.setattr(requests, "write_poems", refuse)
    found = requests.measure_acrostics(poet, 2)
    assert [each[4:] for each in found["refused"]] == [": no poem can be so"] * 2
    assert (found["kept"], found["median_seconds"]) == (0, None)
