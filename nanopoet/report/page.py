"""One page that says what a model knows, in a file that needs nothing else."""

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from nanopoet.prosody.annotate import mark
from nanopoet.report.charts import NATS, bars_chart, calibration_chart, loss_chart
from nanopoet.training.history import StepRecord

MEASURES = {
    "regular": ("in a regular form", "絕句、律詩", True),
    "rhyme": ("even lines rhyme in one group", "平水韻", True),
    "rhyme_distinct": ("no rhyme character twice", "不重韻", True),
    "tones_alternate": ("lines with alternating tones", "二四六分明", True),
    "tones_oppose": ("couplets with opposite tones", "對", True),
    "tones_adhere": ("couplets that adhere", "粘", True),
    "regulated": ("all three throughout the poem", "合律", True),
    "repeated_characters": ("characters repeated in a poem", "重字", False),
    "known_shape": ("line lengths as in some training poem", "合體", True),
    "distinct_1": ("different characters of all", "distinct-1", None),
    "distinct_2": ("different pairs of all", "distinct-2", None),
    "longest_copy": ("longest passage from training, characters", "襲用", None),
    "lines_in_train": ("lines that stand in training poems", "襲句", None),
    "copies": ("poems half or more of which is one passage", "抄襲", False),
    "unknown_characters": ("characters without a known reading", "未詳", None),
}
"""Measure → what it says, in Chinese, whether more is better (None: compare with people)."""

SOURCES = {"model": "the model", "human": "people", "ngram": "n-grams"}


def render_report(
    *,
    evaluate: Mapping[str, Any],
    baseline: Mapping[str, Any],
    pretrain: Mapping[str, Any],
    poems: Mapping[str, Any],
    config: Mapping[str, Any],
    records: Sequence[StepRecord],
) -> str:
    """HTML, with all charts in it.

    Args:
        evaluate: `metrics/evaluate.json`.
        baseline: `metrics/baseline.json`.
        pretrain: `metrics/pretrain.json`.
        poems: `data/examples.json`.
        config: `config.json` of the model.
        records: the course of its training.
    """
    environment = Environment(
        loader=PackageLoader("nanopoet", "templates"), autoescape=True, undefined=StrictUndefined
    )
    highest = list(baseline)[-1]
    verse = evaluate["verse"]
    return environment.get_template("report.html.jinja").render(
        model=config["model"],
        evaluate=evaluate,
        pretrain=pretrain,
        losses={_plain(name): row for name, row in baseline.items()},
        measures=MEASURES,
        sources=SOURCES,
        positions=evaluate["nats_by_position"],
        poems={
            source: {rank: poem | {"lines": mark(poem["text"])} for rank, poem in chosen.items()}
            for source, chosen in poems.items()
        },
        charts={
            "loss": loss_chart(records),
            "calibration": calibration_chart(evaluate["calibration"]),
            "forms": bars_chart(
                {
                    "this model": evaluate["nats_per_character_by_form"],
                    _plain(highest): baseline[highest]["nats_per_character_by_form"],
                },
                NATS,
            ),
            "shares": bars_chart(
                {SOURCES[name]: _shares(verse[name]) for name in SOURCES},
                "share of poems",
                format="%",
            ),
        },
    )


def _plain(name: str) -> str:
    return name.replace("kneser_ney_", "Kneser–Ney ")


def _shares(figures: Mapping[str, Any]) -> dict[str, float]:
    shares = {form: each["share"] for form, each in figures["by_form"].items()}
    return shares | {"others": 1 - figures["regular"]}
