"""Poems of a random model are what was asked, and follow their seed."""

from collections.abc import Generator, Iterator
from typing import Any

import pytest
import torch

from nanopoet.common.errors import NanopoetError
from nanopoet.corpus.poems import Poem
from nanopoet.models.sampling import Sampling
from nanopoet.prosody.rhyme import groups
from nanopoet.prosody.rules import Verse
from nanopoet.writing import write
from nanopoet.writing.catalogue import Catalogue
from nanopoet.writing.context import Context
from nanopoet.writing.particles import Draft
from nanopoet.writing.request import Request
from nanopoet.writing.write import iter_poems, write_poems
from tests.support.writing import COMMON, make_vocabulary, peaked_model

TOKENIZER = make_vocabulary(COMMON).tokenizer
MODEL = peaked_model(TOKENIZER, block_size=16)
"""A model whose context is shorter than a poem."""
CATALOGUE = Catalogue.of([Poem(content="山水。", title="", author="李白", style="五言绝句")])


def poems(catalogue: Catalogue | None = None, sampling: Any = None, **values: Any) -> list[str]:
    return write_poems(
        MODEL,
        TOKENIZER,
        catalogue,
        Request.read(values),
        Sampling.read({"count": 3} | (sampling or {})),
    )


@pytest.mark.parametrize(
    ("form", "sampling"),
    [
        ("五绝", {}),
        ("五律", {"temperature": 0.3}),
        ("七律", {}),
        ("七绝", {"temperature": 3.0}),
        ("七绝", {"top_k": 5}),
        ("七绝", {"top_p": 0.5}),
    ],
)
def test_the_rules_are_kept(form: str, sampling: dict[str, Any]) -> None:
    found = poems(form=form, keep_rules=True, sampling=sampling)
    assert len(found) == 3
    for text in found:
        verse = Verse.of(text)
        assert (verse.rhyme, verse.regulated, verse.rhyme_distinct) == (True, True, True)


def test_all_parts_of_a_request_hold_at_once() -> None:
    asked: dict[str, Any] = {
        "form": "七绝",
        "acrostic": "山水月天",
        "keywords": ["春花"],
        "rhyme": "陽",
    }
    for text in poems(**asked, keep_rules=True):
        verse = Verse.of(text)
        assert [line[0] for line in verse.lines] == list("山水月天")
        assert any("春花" in line for line in verse.lines)
        assert "下平聲七陽" in groups(verse.lines[1][-1])
        assert (verse.rhyme, verse.regulated, verse.rhyme_distinct) == (True, True, True)


def test_a_draft_keeps_what_is_given() -> None:
    for text in poems(draft="？日？山□，□？？？？。", sampling={"temperature": 0.0}):
        assert (text[1], text[3], text[5], text[-1], len(text)) == ("日", "山", "，", "。", 12)


@pytest.mark.parametrize("catalogue", [None, CATALOGUE])
@pytest.mark.parametrize("asked", [{}, {"opening": "明月"}, {"form": "五绝"}, {"opening": "山水"}])
def test_it_follows_its_seed(catalogue: Catalogue | None, asked: dict[str, str]) -> None:
    asked = {name: text for name, text in asked.items() if text != "明月"}
    first, again, other = (
        poems(catalogue, {"seed": seed, "max_new_tokens": 20}, **asked) for seed in (1, 1, 2)
    )
    assert first == again != other
    assert all(text.startswith(asked.get("opening", "")) for text in first)


def test_poems_grow_until_they_are_finished() -> None:
    sampling = Sampling(count=2)
    request = Request(form="五绝", keep_rules=True)
    steps = list(iter_poems(MODEL, TOKENIZER, None, request, sampling))
    assert [step.finished for step in steps] == [False] * (len(steps) - 1) + [True]
    assert [len(step.poems[0]) for step in steps[:4]] == [0, 1, 2, 3]
    assert [step.awaits is None for step in steps] == [step.finished for step in steps]
    assert steps[-1].poems == tuple(write_poems(MODEL, TOKENIZER, None, request, sampling))


def test_many_poems_take_several_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "ROWS", 40)
    found = poems(form="五绝", keep_rules=True, sampling={"count": 5})
    assert len(set(found)) == 5
    assert all(Verse.of(text).regulated for text in found)


def test_rejection_goes_on_until_all_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A random model hardly keeps a form, so particles write what is missing."""
    monkeypatch.setattr(write, "LEAST_ACCEPTED", 0)
    calls = []

    def accepted(
        *_: object, attempts: int, **__: object
    ) -> Generator[Context, None, list[list[int]]]:
        calls.append(attempts)
        yield from ()
        return [[TOKENIZER.encode("山")[0]]]

    monkeypatch.setattr(write, "write_attempts", accepted)
    assert poems(CATALOGUE, form="五绝") == ["山"] * 3
    assert len(calls) == 3
    assert all(len(text) == 24 for text in poems(CATALOGUE, {"top_k": 3}, form="五绝"))
    assert all(len(text) == 24 for text in poems(None, form="五绝"))
    assert len(calls) == 3


def test_a_poem_is_tried_alone_before_others_are_tried_beside_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []

    def none(*_: object, attempts: int, **__: object) -> Generator[Context, None, list[list[int]]]:
        calls.append(attempts)
        yield from ()
        return []

    monkeypatch.setattr(write, "write_attempts", none)
    [text] = poems(CATALOGUE, {"count": 1}, form="五绝")
    assert len(text) == 24
    assert calls == [1, 2, 4]


@pytest.mark.parametrize("failures", [2, 3])
def test_a_poem_whose_particles_die_is_tried_with_more(
    monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    tried = []

    def dying(*_: object, populations: int, particles: int, **__: object) -> Iterator[Draft]:
        tried.append((populations, particles))
        texts = [[TOKENIZER.encode("山")[0]] for _ in range(populations)]
        dies = len(tried) <= failures
        yield Draft(texts, [dies] + [False] * (populations - 1))

    monkeypatch.setattr(write, "write_populations", dying)
    if failures < len(write.TRIES):
        assert len(poems(form="五绝", keep_rules=True)) == 3
    else:
        with pytest.raises(NanopoetError, match="no poem was found in 336 attempts"):
            poems(form="五绝", keep_rules=True)
    assert tried == [(3, 16), (1, 64), (1, 256)]


def test_the_model_is_in_its_own_mode_between_steps() -> None:
    model = peaked_model(TOKENIZER).train()
    for _ in iter_poems(model, TOKENIZER, None, Request(form="五绝")):
        assert model.training
        assert torch.is_grad_enabled()
