"""Measures of a finetuned model: what fields tell it, and whether it writes what is asked for."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from nanopoet.common.device import Precision
from nanopoet.common.types import Array
from nanopoet.corpus.poems import Poem
from nanopoet.evaluation.field_scores import score_contents
from nanopoet.evaluation.sample_poems import sample_poems
from nanopoet.models.base import LanguageModel
from nanopoet.param_sections import EvaluateParams
from nanopoet.prosody.forms import FORMS, split_lines
from nanopoet.tokens.fields import FIELDS, FieldPoems, encode_request
from nanopoet.tokens.tokenizer import BEGIN_ID, CharTokenizer
from nanopoet.writing.catalogue import Catalogue

AUTHORS = 15
"""Authors with most poems, among whom the model has to tell a poem's own."""
TUNES = 20
"""Tunes with most poems that are asked for."""

GIVEN: dict[str, Sequence[str]] = {
    "nothing": (),
    **{name: (name,) for name in FIELDS},
    "all": FIELDS,
}
"""Name of a figure → the fields that are given."""

Score = Callable[[Sequence[Poem], Sequence[str]], Array]
"""Returns the nats of each content (N,), with some fields given."""
Write = Callable[[Sequence[Sequence[int]], int], list[str]]
"""Writes a number of poems for each of some prompts, in the order of the prompts."""


def evaluate_requests(
    model: LanguageModel,
    tokenizer: CharTokenizer,
    catalogue: Catalogue,
    val: Sequence[Poem],
    options: EvaluateParams,
    device: torch.device,
    precision: Precision,
) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Compute all measures of requests; docs/evaluation.md defines each.

    Args:
        model: takes fields.
        tokenizer: its vocabulary.
        catalogue: the tunes of the training poems.
        val: the validation poems.
        options: the parameters of the evaluation.
        device: where to compute.
        precision: of the matmuls.

    Returns:
        the figures; and the poems by the style that was asked for, which is empty if none was.
    """

    def score(poems: Sequence[Poem], given: Sequence[str]) -> Array:
        encoded, size = FieldPoems.of(poems, tokenizer), options.batch_size
        kept = {"batch_size": size, "device": device, "precision": precision}
        return score_contents(model, encoded, given, **kept)  # type: ignore[arg-type]

    write_some = partial(
        sample_poems,
        model,
        tokenizer,
        length=options.sample_length,
        temperature=options.temperature,
        seed=options.seed,
        device=device,
        precision=precision,
    )

    def write(prompts: Sequence[Sequence[int]], count: int) -> list[str]:
        return write_some(count=count, prompts=prompts)

    count = options.sample_count
    drawn = shuffled(val, options.seed)
    asked = write_for(write, tokenizer, drawn[:count])
    nats = score(val, ()).sum().item() / sum(len(poem["content"]) for poem in val)
    figures = {
        "nats_per_character": nats,
        "perplexity": float(np.exp(nats)),
        "nats_per_character_given": nats_given(score, drawn[: 2 * count]),
        "authors": identify_authors(score, drawn, max(1, count // 50)),
        "tunes": asked_tunes(write, tokenizer, catalogue, val, max(1, count // TUNES)),
        "titles": title_shares(drawn[:count], asked),
    }
    poems = {
        "": write([encode_request(tokenizer)], count),
        **write_forms(write, tokenizer, count),
    }
    return figures, poems


def shuffled(poems: Sequence[Poem], seed: int) -> list[Poem]:
    """Return poems in the order in which the evaluation draws them."""
    return [poems[i] for i in np.random.default_rng(seed).permutation(len(poems))]


def nats_given(score: Score, poems: Sequence[Poem]) -> dict[str, float]:
    """Compute the nats per character of poems, with each of `GIVEN`."""
    characters = sum(len(poem["content"]) for poem in poems)
    return {name: score(poems, given).sum().item() / characters for name, given in GIVEN.items()}


def identify_authors(score: Score, poems: Sequence[Poem], most: int) -> dict[str, Any]:
    """Let the model tell by likelihood which of some authors has written a poem.

    Args:
        score: scores contents of poems, with the fields given.
        poems: validation poems, of which those by the authors with most poems are tried.
        most: poems of an author that are tried.

    Returns:
        `identified`, a share; `commonest`, the share of the author with most poems; and `poems`.
    """
    counts = Counter(poem["author"] for poem in poems if poem["author"])
    authors = [author for author, _ in counts.most_common(AUTHORS)]
    tried = [p for a in authors for p in [p for p in poems if p["author"] == a][:most]]
    if not tried:
        return {"poems": 0, "identified": None, "commonest": None}
    claims = [Poem(**(poem | {"author": author})) for poem in tried for author in authors]
    nats = score(claims, ("author",)).reshape(len(tried), len(authors))
    own = np.array([authors.index(poem["author"]) for poem in tried])
    return {
        "poems": len(tried),
        "identified": float((nats.argmin(axis=1) == own).mean()),
        "commonest": float(np.bincount(own).max() / len(own)),
    }


def write_forms(write: Write, tokenizer: CharTokenizer, count: int) -> dict[str, list[str]]:
    """Ask for poems in each regular form, and return them by its style."""
    styles = [form.style for form in FORMS.values()]
    return {style: write([encode_request(tokenizer, style=style)], count) for style in styles}


def asked_tunes(
    write: Write,
    tokenizer: CharTokenizer,
    catalogue: Catalogue,
    people: Sequence[Poem],
    count: int,
) -> dict[str, Any]:
    """Ask for poems to the commonest tunes, and return the shares that have an attested shape."""
    tunes = list(catalogue.tunes)[:TUNES]
    shapes = {tune: {each.shape.lengths for each in catalogue.tunes[tune].shapes} for tune in tunes}
    poems = write([encode_request(tokenizer, style=tune) for tune in tunes], count)
    asked = np.repeat(tunes, count).tolist()
    theirs = [poem for poem in people if poem["style"] in shapes]
    return {
        "tunes": len(tunes),
        "model": _share(lengths(p) in shapes[tune] for tune, p in zip(asked, poems, strict=True)),
        "human": _share(lengths(poem["content"]) in shapes[poem["style"]] for poem in theirs),
    }


def lengths(text: str) -> tuple[int, ...]:
    """Return the length of each line.

    >>> lengths("知否，知否，應是綠肥紅瘦。")
    (2, 2, 6)
    """
    return tuple(map(len, split_lines(text)))


def write_for(write: Write, tokenizer: CharTokenizer, people: Sequence[Poem]) -> list[str]:
    """Ask for a poem with the author, the style and the title of each poem."""
    fields = [{name: poem[name] for name in FIELDS} for poem in people]  # type: ignore[literal-required]
    return write([encode_request(tokenizer, **each) for each in fields], 1)


def write_alike(
    model: LanguageModel,
    tokenizer: CharTokenizer,
    people: Sequence[Poem],
    options: EvaluateParams,
    device: torch.device,
    precision: Precision,
) -> list[str]:
    """Write a poem for the fields of each poem, always with the same random numbers.

    Models that are compared poem by poem so differ in their weights alone. A model that takes no
    fields gets none.
    """
    poems = []
    for poem in people:
        fields = {name: poem[name] for name in FIELDS} if model.takes_fields else {}  # type: ignore[literal-required]
        poems += sample_poems(
            model,
            tokenizer,
            count=1,
            length=options.sample_length,
            temperature=options.temperature,
            seed=options.seed,
            device=device,
            precision=precision,
            prompts=[encode_request(tokenizer, **fields) if model.takes_fields else [BEGIN_ID]],
        )
    return poems


def title_shares(people: Sequence[Poem], written: Sequence[str]) -> dict[str, float | None]:
    """Return the shares of poems that have a character of the title, people's and the model's."""
    pairs = [(set(p["title"]), p, text) for p, text in zip(people, written, strict=True)]
    titled = [pair for pair in pairs if pair[0]]
    return {
        "model": _share(bool(title & set(text)) for title, _, text in titled),
        "human": _share(bool(title & set(poem["content"])) for title, poem, _ in titled),
    }


def _share(answers: Iterable[bool]) -> float | None:
    known = list(answers)
    return sum(known) / len(known) if known else None
