"""The report: one HTML page with the results of a training, charts included."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from nanopoet.evaluation.perplexity import meaning, perplexity
from nanopoet.prosody.annotate import Mark, mark
from nanopoet.report.charts import NATS, bars_chart, calibration_chart, lines_chart, loss_chart
from nanopoet.training.history import StepRecord

Figures = Mapping[str, Any]
"""The content of a JSON file of metrics."""


class Measure(NamedTuple):
    """A measure of written poems, as the report names it.

    Attributes:
        text: in English.
        chinese: in Chinese.
        more_is_better: None if the figure of poems by people is the aim.
    """

    text: str
    chinese: str
    more_is_better: bool | None


MEASURES = {
    "regular": Measure("in a regular form", "絕句、律詩", True),
    "rhyme": Measure("even lines rhyme in one group", "平水韻", True),
    "rhyme_level": Measure("rhymes of level tone", "平聲韻", None),
    "rhyme_distinct": Measure("no rhyme character twice", "不重韻", True),
    "tones_alternate": Measure("lines with alternating tones", "二四六分明", True),
    "tones_oppose": Measure("couplets with opposite tones", "對", True),
    "tones_adhere": Measure("couplets that adhere", "粘", True),
    "regulated": Measure("all three throughout the poem", "合律", True),
    "repeated_characters": Measure("characters repeated in a poem", "重字", False),
    "known_shape": Measure("line lengths as in some training poem", "合體", True),
    "distinct_1": Measure("different characters of all", "distinct-1", None),
    "distinct_2": Measure("different pairs of all", "distinct-2", None),
    "distinct_2_within": Measure("different pairs within a poem", "distinct-2", None),
    "commonest_rhyme_characters": Measure("the 20 commonest rhyme characters", "韻字", None),
    "commonest_openings": Measure("the 20 commonest openings", "起句", None),
    "commonest_last_lines": Measure("the 20 commonest last lines", "結句", None),
    "parallel_middle": Measure("parallelism of middle couplets, nats", "對仗", True),
    "parallel_outer": Measure("parallelism of outer couplets, nats", "首尾", None),
    "reader_ngram": Measure("nats per character for n-grams", "n-gram", None),
    "reader_model": Measure("nats per character for the strong reader", "強讀者", None),
    "longest_copy": Measure("longest passage from training, characters", "襲用", None),
    "lines_in_train": Measure("lines that stand in training poems", "襲句", None),
    "copies": Measure("half or more is one training passage", "抄襲", False),
    "mixed_scripts": Measure("poems with characters of both scripts", "繁簡混用", None),
    "unknown_characters": Measure("characters without a known reading", "未詳", None),
}
"""The measures of `evaluate.verse` in the order of the table. `make reader` adds `reader_model`."""

ASKED = {"form": Measure("in the form that was asked for", "所求之體", True)} | {
    name: measure for name, measure in MEASURES.items() if name not in ("regular", "known_shape")
}
"""The measures of `evaluate_finetuned.asked`, in the order of the table."""

SOURCES = {"model": "the model", "human": "people", "ngram": "n-grams"}
"""The writers of the compared poems."""


def render_report(
    *,
    evaluate: Figures,
    baseline: Figures,
    pretrain: Figures,
    poems: Figures,
    config: Figures,
    records: Sequence[StepRecord],
) -> str:
    """Render the report as HTML that loads nothing else.

    Args:
        evaluate: `metrics/evaluate.json`.
        baseline: `metrics/baseline.json`.
        pretrain: `metrics/pretrain.json`.
        poems: `data/examples.json`.
        config: `config.json` of the model.
        records: the history of its training.
    """
    return _template("report.html.jinja").render(
        model=config["model"],
        evaluate=evaluate,
        pretrain=pretrain,
        losses={_plain(name): row for name, row in baseline.items()},
        measures=_without_reader(MEASURES),
        sources=SOURCES,
        verse_columns={text: evaluate["verse"][name] for name, text in SOURCES.items()},
        positions=evaluate["nats_by_position"],
        poems={
            source: {
                rank: poem | {"lines": mark(poem["text"])} for rank, poem in poems[source].items()
            }
            for source in SOURCES
        },
        charts=_charts(evaluate, baseline, records),
    )


def render_finetuned_report(
    *,
    evaluate: Figures,
    finetuned: Figures,
    finetune: Figures,
    requests: Sequence[Mapping[str, Any]],
    records: Sequence[StepRecord],
) -> str:
    """Render the report that compares the pretrained and the finetuned model, as HTML.

    Args:
        evaluate: `metrics/evaluate.json`, of the pretrained model.
        finetuned: `metrics/evaluate_finetuned.json`.
        finetune: `metrics/finetune.json`.
        requests: the poems of `data/requests.json`.
        records: the history of the finetuning.
    """
    return _template("finetuned.html.jinja").render(
        evaluate=evaluate,
        finetuned=finetuned,
        finetune=finetune,
        given=finetuned["nats_per_character_given"],
        asked=finetuned["asked"],
        least_form=min(figures["form"] for figures in finetuned["asked"]["model"].values()),
        measures=_without_reader(MEASURES),
        verse_columns=_verse_columns(evaluate, finetuned=finetuned),
        pairs=[{"request": _request(pair), "poems": _poems(pair)} for pair in requests],
        loss=loss_chart(records),
    )


def render_reinforced_report(
    *,
    evaluate: Figures,
    finetuned: Figures,
    reinforced: Figures,
    reinforce: Figures,
    reader: Figures,
    requests: Sequence[Mapping[str, Any]],
    records: Sequence[StepRecord],
) -> str:
    """Render the report that compares all three models, as HTML.

    Args:
        evaluate: `metrics/evaluate.json`, of the pretrained model.
        finetuned: `metrics/evaluate_finetuned.json`.
        reinforced: `metrics/evaluate_reinforced.json`.
        reinforce: `metrics/reinforce.json`.
        reader: `metrics/reader.json`. What it says of other poems than these is left out.
        requests: the poems of `data/requests_reinforced.json`.
        records: the history of the reinforcement.
    """
    columns = {
        "finetuned": finetuned["asked"]["model"]["mean"],
        "reinforced": reinforced["asked"]["model"]["mean"],
        SOURCES["human"]: reinforced["asked"]["human"]["mean"],
    }
    asked = {name: means for name, means in columns.items() if means}
    verse = _verse_columns(evaluate, finetuned=finetuned, reinforced=reinforced)
    asked_nats = strong_reader_nats(reader, "asked", asked)
    verse_nats = strong_reader_nats(reader, "verse", verse)
    is_read = len(asked_nats) == len(asked) and len(verse_nats) == len(verse)
    if is_read:
        asked = _with_nats(asked, asked_nats)
        verse = _with_nats(verse, verse_nats)
    return _template("reinforced.html.jinja").render(
        finetuned=finetuned,
        reinforced=reinforced,
        reinforce=reinforce,
        mean=reinforced["asked"]["model"]["mean"],
        reader=reader if is_read else None,
        measures=MEASURES if is_read else _without_reader(MEASURES),
        asked_measures=ASKED if is_read else _without_reader(ASKED),
        asked_columns=asked,
        verse_columns=verse,
        pairs=[{"request": _request(pair), "poems": _poems(pair)} for pair in requests],
        reward=lines_chart(
            {"reward": [(r.step, r.figures["reward"]) for r in records]}, "update", "reward"
        ),
        divergence=lines_chart(
            {"KL": [(r.step, r.figures["kl"]) for r in records]}, "update", NATS
        ),
    )


def strong_reader_nats(
    reader: Figures, kind: str, columns: Mapping[str, Figures]
) -> dict[str, float]:
    """Return the nats per character of the strong reader for the poems of each column.

    A column is left out if the reader has read none of its poems, or those of another training.
    Beside the reader's own figures stand those of the n-gram reader, which differ if a poem does.

    Args:
        reader: `metrics/reader.json`.
        kind: `asked` or `verse`.
        columns: name → figures, with `reader_ngram`.
    """
    read = reader.get(kind, {})
    return {
        name: read[name]["reader_model"]
        for name, column in columns.items()
        if name in read and read[name]["reader_ngram"] == column["reader_ngram"]
    }


def _verse_columns(evaluate: Figures, **further: Figures) -> dict[str, Figures]:
    """Return the measures of writing without a request: all models, people and n-grams."""
    verse = evaluate["verse"]
    models = {name: figures["verse"]["model"] for name, figures in further.items()}
    others = {text: verse[name] for name, text in SOURCES.items() if name != "model"}
    return {"pretrained": verse["model"], **models, **others}


def _with_nats(columns: Mapping[str, Figures], nats: Mapping[str, float]) -> dict[str, Figures]:
    return {name: {**column, "reader_model": nats[name]} for name, column in columns.items()}


def _without_reader(measures: Mapping[str, Measure]) -> dict[str, Measure]:
    return {name: measure for name, measure in measures.items() if name != "reader_model"}


def _request(pair: Mapping[str, Any]) -> str:
    fields = (pair["people"][field] for field in ("author", "style", "title"))
    return " ".join(filter(None, fields))


def _poems(pair: Mapping[str, Any]) -> dict[str, list[list[Mark]]]:
    """Mark the rhymes and tones of the poems for one request, by writer."""
    people = {"people": mark(pair["people"]["content"])}
    return people | {name: mark(text) for name, text in pair.items() if name != "people"}


def _template(name: str) -> Template:
    environment = Environment(
        loader=PackageLoader("nanopoet", "templates"), autoescape=True, undefined=StrictUndefined
    )
    environment.globals |= {"meaning": meaning, "perplexity": perplexity}
    return environment.get_template(name)


def _charts(evaluate: Figures, baseline: Figures, records: Sequence[StepRecord]) -> dict[str, str]:
    """Draw the charts of the report as SVG."""
    highest = list(baseline)[-1]
    losses = {
        "this model": evaluate["nats_per_character_by_form"],
        _plain(highest): baseline[highest]["nats_per_character_by_form"],
    }
    shares = {text: _shares(evaluate["verse"][name]) for name, text in SOURCES.items()}
    return {
        "loss": loss_chart(records),
        "calibration": calibration_chart(evaluate["calibration"]),
        "forms": bars_chart(losses, NATS),
        "shares": bars_chart(shares, "share of poems", format="%"),
    }


def _plain(name: str) -> str:
    """Spell out the name of a baseline.

    >>> _plain("kneser_ney_5")
    'Kneser–Ney 5'
    """
    return name.replace("kneser_ney_", "Kneser–Ney ")


def _shares(figures: Figures) -> dict[str, float]:
    """Return the share of the poems in each form, and of the others."""
    shares = {form: each["share"] for form, each in figures["by_form"].items()}
    return shares | {"others": 1 - figures["regular"]}
