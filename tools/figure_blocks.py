"""Blocks and numbers that `tools.figures` writes into README and docs, in English and Chinese."""

from collections.abc import Callable
from functools import partial
from typing import Any

from nanopoet.common.errors import NanopoetError
from tools.asked_blocks import asked, finetuned, kl_weights, reinforced, requests
from tools.figure_format import format_value, markdown_table

Figures = dict[str, Any]

NOTEBOOK_LOSSES = {0: 9.10, 10: 8.17, 20: 7.50, 30: 7.08, 40: 6.91, 90: 6.75}
"""Validation loss by step that the teaching notebook "Pre Train 预训练" shows."""
RECIPES = ("notebook", "default", "evening", "small")
MEASURES = {
    "regular": ("in a regular form (絕句, 律詩)", "合乎格律诗的形式（絕句、律詩）"),
    "rhyme": ("of these, even lines rhyme in one 平水韻 group", "其中偶句同押一个平水韻部"),
    "tones_alternate": (
        "their lines alternate in tone (二四六分明)",
        "句中平仄相间（二四六分明）",
    ),
    "tones_oppose": ("their couplets oppose (對)", "两句相對（對）"),
    "tones_adhere": ("their couplets adhere (粘)", "两联相粘（粘）"),
    "regulated": ("of these, all three rules of tone throughout", "其中全诗三者皆合"),
    "lines_in_train": ("lines that stand in a training poem", "训练诗中已有的句子"),
    "copies": ("poems whose half or more is one training passage", "一半以上为训练诗中同一段的诗"),
}
"""Measure → its name in English and in Chinese; docs/evaluation.md defines each."""


def poem_block(entry: Figures) -> str:
    """Return the poem of a recipe as a code block.

    Raises:
        NanopoetError: the poem is not known.
    """
    if not entry["poem"]:
        raise NanopoetError("this recipe has no poem here; run it, then `make figures`")
    return f"```\n{entry['poem']}\n```"


def results(figures: Figures, *, chinese: bool = False) -> str:
    """Return a row for each recipe, and the commits at which they were measured."""
    default = "（默认）" if chinese else "(default)"
    rows, commits = [], []
    for name in RECIPES:
        if name not in figures:
            continue
        entry = figures[name]
        evaluate, measured = entry["evaluate"], entry["measured"]
        verse = evaluate["verse"]["model"]
        took = format_value(measured["seconds"], "time-zh" if chinese else "time")
        machine = format_value(measured["machine"], "machine-zh" if chinese else "machine")
        shown = default if name == "default" else f"`{name}`"
        rows.append(
            (
                shown,
                f"{evaluate['nats_per_character']:.4f}",
                f"{evaluate['perplexity']:.0f}",
                format_value(verse["regular"], ".1%"),
                format_value(verse["rhyme"], ".1%"),
                f"{entry['pretrain']['parameters'] / 1e6:.1f} M",
                f"{entry['pretrain']['tokens']:,}",
                f"{took}{'，' if chinese else ', '}{machine}",
            )
        )
        commits.append(f"{shown} {measured['commit']}")
    if chinese:
        head = "配方 | 每字损失 | 困惑度 | 绝句、律诗 | 其中押韵 | 参数量 | 训练词元数 | 训练用时"
        last = f"各配方测量时的提交：{'、'.join(commits)}。用时不含训练途中的评估。"
    else:
        head = (
            "recipe | nats per character | perplexity | regular form | of these, rhyming "
            "| parameters | training tokens | training took"
        )
        last = f"Measured at commits: {', '.join(commits)}. Times leave out evaluation steps."
    return f"{markdown_table(head.split(' | '), rows)}\n\n{last}"


def verse(figures: Figures, *, chinese: bool = False) -> str:
    """Return the shares of the default recipe's poems beside those of people and n-grams."""
    sources = figures["default"]["evaluate"]["verse"]
    head = (
        ("", "模型", "古人", "n-gram") if chinese else ("share", "the model", "people", "n-grams")
    )
    rows = [
        (
            names[chinese],
            *(format_value(sources[each][key], ".1%") for each in ("model", "human", "ngram")),
        )
        for key, names in MEASURES.items()
    ]
    return markdown_table(head, rows)


def notebook_curve(figures: Figures, *, chinese: bool = False) -> str:
    """Return the validation loss of the original notebook and of the recipe `notebook`, by step."""
    ours = figures["notebook"]["loss_val"]
    head = ("步", "原笔记本", "配方 `notebook`")
    if not chinese:
        head = ("step", "original notebook", "recipe `notebook`")
    rows = [
        (str(step), f"{loss:.2f}", f"{ours[str(step)]:.2f}")
        for step, loss in NOTEBOOK_LOSSES.items()
    ]
    return markdown_table(head, rows)


_ENGLISH: dict[str, Callable[..., str]] = {
    "results": results,
    "verse": verse,
    "notebook-curve": notebook_curve,
}
BLOCKS: dict[str, Callable[[Figures], str]] = {
    "finetuned": finetuned,
    "reinforced": reinforced,
    "kl-weights": kl_weights,
    "requests": requests,
    "asked": asked,
    **_ENGLISH,
    **{f"{name}-zh": partial(block, chinese=True) for name, block in _ENGLISH.items()},
}
"""Name of a block → the function that writes it."""
