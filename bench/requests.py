"""Poems that must be what is asked for: whether they are, and how long they take.

`python -m bench.requests` takes the best model that is there and writes docs/requests.json, a
quarter of an hour on two cores. Each poem is asked for by itself, as a user does:

- rules: poems in each regular form that keep all rules
- acrostics: 七绝 that keep all rules and begin their lines with four random common characters
- tunes: poems to the commonest tunes
"""

import argparse
import time
from collections import Counter
from collections.abc import Iterable
from itertools import count as counted
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from bench import count
from nanopoet.common.device import keep_freed_memory
from nanopoet.common.errors import NanopoetError
from nanopoet.common.files import write_json
from nanopoet.common.model_folders import best_model
from nanopoet.corpus.poems import iter_poems
from nanopoet.evaluation.requests import TUNES, lengths
from nanopoet.models.sampling import Sampling
from nanopoet.ops.linear import packed
from nanopoet.prosody.forms import FORMS, style_of
from nanopoet.prosody.rhyme import groups
from nanopoet.prosody.rules import Verse
from nanopoet.prosody.script import to_script
from nanopoet.writing.folder import Poet, load_poet
from nanopoet.writing.request import Request
from nanopoet.writing.write import write_poems
from stages.runner import run
from tools.figure_format import this_machine
from tools.revisions import git_head

SHOWN = Request(form="七绝", author="李白", title="月夜", acrostic="春夏秋冬", keep_rules=True)
"""The request whose poem README shows."""
COMMON = 500
"""Characters of which acrostics are made: the commonest of the training poems."""
QUICK = 5.0
"""Seconds within which an acrostic should be there."""


def main() -> None:
    """Measure all and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=best_model())
    parser.add_argument("--rules", type=count, default=250, help="poems of each form")
    parser.add_argument("--acrostics", type=count, default=100)
    parser.add_argument("--tunes", type=count, default=5, help="poems of each tune")
    parser.add_argument("--out", default="docs/requests.json")
    arguments = parser.parse_args()
    keep_freed_memory()
    poet = load_poet(arguments.model)
    with packed(poet[0]), torch.inference_mode():
        figures = {
            "commit": git_head(),
            "machine": this_machine(),
            "shown": _show(poet),
            "rules": measure_rules(poet, arguments.rules),
            "acrostics": measure_acrostics(poet, arguments.acrostics),
            "tunes": measure_tunes(poet, arguments.tunes),
        }
    write_json(arguments.out, figures)
    print(f"{arguments.out}: written")


def measure_rules(poet: Poet, count: int) -> dict[str, Any]:
    """Ask for poems in each form that keep all rules."""
    found = {}
    for form in tqdm(FORMS, desc="rules", unit="form", disable=None):
        done = [_ask(poet, Request(form=form, keep_rules=True), seed) for seed in range(count)]
        kept = sum(_keeps(poem, form) for poem, _ in done)
        found[form] = {"poems": count, "kept": kept} | _times(seconds for _, seconds in done)
    return found


def measure_acrostics(poet: Poet, count: int) -> dict[str, Any]:
    """Ask for acrostics that keep all rules."""
    rng = np.random.default_rng(0)
    common = _common_characters(poet)
    asked = ["".join(rng.choice(common, 4, replace=False)) for _ in range(count)]
    done, refused = [], []
    for seed, acrostic in enumerate(tqdm(asked, desc="acrostics", unit="poem", disable=None)):
        request = Request(form="七绝", acrostic=acrostic, keep_rules=True)
        try:
            poem, seconds = _ask(poet, request, seed)
        except NanopoetError as error:
            refused.append(f"{acrostic}: {error}")
            continue
        lines = [line[0] for line in Verse.of(poem).lines]
        assert "".join(lines) == acrostic, poem
        done.append((_keeps(poem, "七绝"), seconds))
    return {
        "poems": count,
        "kept": sum(keeps for keeps, _ in done),
        "quick": sum(keeps and seconds <= QUICK for keeps, seconds in done),
        "refused": refused,
    } | _times(seconds for _, seconds in done)


def measure_tunes(poet: Poet, count: int) -> dict[str, Any]:
    """Ask for poems to the commonest tunes."""
    catalogue = poet[2]
    assert catalogue is not None
    attested, times = 0, []
    tunes = list(catalogue.tunes)[:TUNES]
    for tune in tqdm(tunes, desc="tunes", unit="tune", disable=None):
        shapes = {each.shape.lengths for each in catalogue.tunes[tune].shapes}
        for seed in range(count):
            poem, seconds = _ask(poet, Request(form=tune), seed)
            attested += lengths(poem) in shapes
            times.append(seconds)
    return {"tunes": len(tunes), "poems": len(times), "attested": attested} | _times(times)


def _show(poet: Poet) -> dict[str, str]:
    """Return the command for `SHOWN`, and the poem that it writes.

    It has the first seed with which the four lines end in four characters. The rules leave the end
    of the first line free, but a first line that rhymes should not take a later rhyme away.
    """
    given = SHOWN.model_dump(exclude_defaults=True)
    options = [
        f"--{name.replace('_', '-')}" + ("" if value is True else f" {value}")
        for name, value in given.items()
    ]
    for seed in counted():
        poem, _ = _ask(poet, SHOWN, seed)
        if len({line[-1] for line in Verse.of(poem).lines}) == 4:
            break
    return {"command": " ".join(["nanopoet write", *options, f"--seed {seed}"]), "poem": poem}


def _ask(poet: Poet, request: Request, seed: int) -> tuple[str, float]:
    """Write one poem, and return it with the seconds that it took."""
    start = time.perf_counter()
    [poem] = write_poems(*poet, request, Sampling(seed=seed))
    return poem, time.perf_counter() - start


def _keeps(poem: str, form: str) -> bool:
    verse = Verse.of(poem)
    right = verse.form == style_of(form)
    return right and bool(verse.rhyme and verse.regulated and verse.rhyme_distinct)


def _times(seconds: Iterable[float]) -> dict[str, float | None]:
    """Return the median and the 95th percentile, in seconds; None of no poem."""
    known = list(seconds)
    if not known:
        return {"median_seconds": None, "p95_seconds": None}
    median, high = np.percentile(known, [50, 95])
    return {"median_seconds": round(median, 2), "p95_seconds": round(high, 2)}


def _common_characters(poet: Poet) -> list[str]:
    """Return the commonest characters, without those that a request has in another script."""
    script = poet[2].script if poet[2] else None
    counts = Counter(
        character for poem in iter_poems("data/train.jsonl") for character in poem["content"]
    )
    known = [each for each, _ in counts.most_common() if groups(each)]
    return [each for each in known if not script or to_script(each, script) == each][:COMMON]


if __name__ == "__main__":
    run(main, takes_arguments=True)
