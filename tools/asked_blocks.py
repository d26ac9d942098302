"""Blocks of pages about models that are asked for poems; see tools/figures.py."""

from collections.abc import Mapping
from typing import Any

from nanopoet.common.text import as_lines
from nanopoet.report.page import strong_reader_nats
from tools.figure_format import format_value, markdown_table

Figures = Mapping[str, Any]

_REINFORCED = {
    "form": ("in the form that was asked for", ".1%"),
    "rhyme": ("of these, even lines rhyme", ".1%"),
    "rhyme_level": ("of these, rhymes of level tone", ".1%"),
    "regulated": ("of these, all rules of tone throughout", ".1%"),
    "rhyme_distinct": ("of these, no rhyme character twice", ".1%"),
    "repeated_characters": ("of these, characters repeated in a poem", ".1%"),
    "distinct_2": ("different pairs of all (distinct-2)", ".3f"),
    "distinct_2_within": ("different pairs within a poem", ".3f"),
    "commonest_rhyme_characters": ("the 20 commonest rhyme characters, share", ".1%"),
    "commonest_openings": ("the 20 commonest openings, share", ".1%"),
    "copies": ("half or more from one training poem", ".1%"),
    "lines_in_train": ("lines that stand in a training poem", ".1%"),
    "parallel_middle": ("parallelism of middle couplets, nats", ".2f"),
    "reader_ngram": ("nats per character for the 5-gram reader", ".2f"),
}
"""Figure → its name on a page, and how it is written."""
_BY_KL_WEIGHT = (
    *("form", "rhyme", "regulated", "rhyme_distinct", "repeated_characters"),
    *("distinct_2", "commonest_rhyme_characters", "reader_ngram"),
)
KL_WEIGHTS = {"kl-weight-0.125": "0.125", "reinforced": "0.25", "kl-weight-0.5": "0.5"}
"""The model of the workspace, or an experiment of docs/reinforce.md → its `reinforce.kl_weight`."""


def finetuned(figures: Figures) -> str:
    """Make the table of what the finetuned model reaches, beside people's poems."""
    entry = figures["finetuned"]
    evaluate, measured = entry["evaluate"], entry["measured"]
    given, tunes, titles = (
        evaluate[name] for name in ("nats_per_character_given", "tunes", "titles")
    )
    authors, pretrained = evaluate["authors"], figures["default"]["evaluate"]
    rows = [
        [f"asked for a {style}, the poem is one", format_value(share, ".1%"), "–"]
        for style, share in _forms(evaluate).items()
    ]
    rows += [
        [
            f"asked for one of {tunes['tunes']} tunes, the poem has line lengths of the tune",
            format_value(tunes["model"], ".1%"),
            format_value(tunes["human"], ".1%"),
        ],
        [
            "a character of the title occurs in the poem",
            format_value(titles["model"], ".1%"),
            format_value(titles["human"], ".1%"),
        ],
        [
            "the right one of 15 authors has the lowest loss",
            format_value(authors["identified"], ".1%"),
            f"{format_value(authors['commonest'], '.1%')} for the commonest",
        ],
        [
            "nats per character, given author, style and title",
            format_value(given["all"], ".4f"),
            f"{format_value(given['nothing'], '.4f')} given nothing",
        ],
        [
            "nats per character of all validation poems, without a request",
            format_value(evaluate["nats_per_character"], ".4f"),
            f"{format_value(pretrained['nats_per_character'], '.4f')} pretrained",
        ],
    ]
    note = (
        f"Measured at commit {measured['commit']}, {format_value(measured['machine'], 'machine')}, "
        f"after {entry['finetune']['steps']} steps of finetuning, one random seed."
    )
    return f"{markdown_table(['', 'finetuned', 'people, or for comparison'], rows)}\n\n{note}"


def _forms(evaluate: Figures) -> dict[str, float]:
    """Return the share of the poems that have the form that was asked for, by form."""
    asked = evaluate["asked"]["model"]
    return {style: each["form"] for style, each in asked.items() if style != "mean"}


def reinforced(figures: Figures) -> str:
    """Make the table of what the reinforced model reaches, beside the finetuned one and people."""
    names = ("finetuned", "reinforced", "another-seed")
    entries = [figures[name]["evaluate"] for name in names]
    columns = dict(zip(names, (each["asked"]["model"]["mean"] for each in entries), strict=True))
    columns["people"] = entries[1]["asked"]["human"]["mean"]
    rows = [
        [name, *(format_value(column[key], spec) for column in columns.values())]
        for key, (name, spec) in _REINFORCED.items()
    ]
    if read := strong_reader_nats(figures["reader"], "asked", columns):
        known = [format_value(read.get(name), ".2f") for name in columns]
        rows.append(["nats per character for the strong reader", *known])
    for name, key in (("without a request", "nothing"), ("with all its fields", "all")):
        nats = [format_value(each["nats_per_character_given"][key], ".3f") for each in entries]
        rows.append([f"nats per character of a validation poem, {name}", *nats, "–"])
    entry = figures["reinforced"]
    measured = entry["measured"]
    seconds = format_value(measured["seconds"], "time") if measured["seconds"] else "unknown time"
    note = (
        f"Measured at commit {measured['commit']}, {format_value(measured['machine'], 'machine')}, "
        f"after {entry['reinforce']['steps']} updates in {seconds}."
    )
    head = ["", "finetuned", "reinforced", "both with another seed", "people"]
    return f"{markdown_table(head, rows)}\n\n{note}"


def kl_weights(figures: Figures) -> str:
    """Make the table of reinforced models by the weight of the divergence."""
    before, rows = figures["finetuned"]["evaluate"], []
    for name, weight in KL_WEIGHTS.items():
        evaluate = figures[name]["evaluate"]
        mean = evaluate["asked"]["model"]["mean"]
        shown = [format_value(mean[key], _REINFORCED[key][1]) for key in _BY_KL_WEIGHT]
        given, given_before = (each["nats_per_character_given"] for each in (evaluate, before))
        nats = [
            evaluate["nats_per_character"] - before["nats_per_character"],
            given["all"] - given_before["all"],
        ]
        rows.append([weight, *shown, *(format_value(more, "+.3f") for more in nats)])
    names = [_REINFORCED[key][0] for key in _BY_KL_WEIGHT]
    names += ["nats above the finetuned model", "the same with all fields"]
    return markdown_table(["`kl_weight`", *names], rows)


def requests(figures: Figures) -> str:
    """Make the table of poems that must be as asked, with the seconds that each took."""
    entry = figures["requests"]
    acrostics, tunes = entry["acrostics"], entry["tunes"]
    rows = [
        [f"{form} that keeps all rules", f"{each['kept']} of {each['poems']}", *_seconds(each)]
        for form, each in entry["rules"].items()
    ]
    kept = f"{acrostics['kept']} of {acrostics['poems']}, {len(acrostics['refused'])} refused"
    rows += [
        [
            "七绝 that keeps all rules, an acrostic of 4 common characters",
            kept,
            *_seconds(acrostics),
        ],
        [
            f"line lengths of the tune, {tunes['tunes']} tunes",
            f"{tunes['attested']} of {tunes['poems']}",
            *_seconds(tunes),
        ],
    ]
    machine = format_value(entry["machine"], "machine")
    head = ["asked for", "as asked", "seconds, median", "95th percentile"]
    return f"{markdown_table(head, rows)}\n\nMeasured at commit {entry['commit']}, {machine}."


def asked(figures: Figures) -> str:
    """Return a command that asks for a poem, and the poem, as a code block."""
    shown = figures["requests"]["shown"]
    return f"```console\n$ {shown['command']}\n{as_lines(shown['poem'])}\n```"


def _seconds(entry: Figures) -> list[str]:
    return [format_value(entry[name], ".2f") for name in ("median_seconds", "p95_seconds")]
