"""Blocks and numbers that `tools.figures` writes into README and docs, in English and Chinese."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from nanopoet.common.device import choose_device
from nanopoet.common.errors import NanopoetError
from nanopoet.common.text import as_lines

Figures = dict[str, Any]

NOTEBOOK_LOSSES = {0: 9.10, 10: 8.17, 20: 7.50, 30: 7.08, 40: 6.91, 90: 6.75}
"""Validation loss by step that the teaching notebook "Pre Train 预训练" shows."""
RECIPES = ("notebook", "default", "evening", "small")
MEASURES = {
    "regular": ("in a regular form (絕句, 律詩)", "合乎格律诗的形式（絕句、律詩）"),
    "rhyme": ("even lines rhyme in one 平水韻 group", "偶句同押一个平水韻部"),
    "tones_alternate": ("lines alternate in tone (二四六分明)", "句中平仄相间（二四六分明）"),
    "tones_oppose": ("couplets oppose (對)", "两句相對（對）"),
    "tones_adhere": ("couplets adhere (粘)", "两联相粘（粘）"),
    "regulated": ("all three rules of tone hold throughout", "全诗三者皆合"),
    "lines_in_train": ("lines that stand in a training poem", "训练诗中已有的句子"),
    "copies": ("poems whose half or more is one training passage", "一半以上为训练诗中同一段的诗"),
}
"""Measure → its name in English and in Chinese; docs/evaluation.md defines each."""
_UNITS: tuple[tuple[float, int, str, tuple[str, str]], ...] = (
    (100, 1, "{:.0f}", ("seconds", "秒")),
    (7200, 60, "{:.0f}", ("minutes", "分钟")),
    (float("inf"), 3600, "{:.1f}", ("hours", "小时")),
)
"""Seconds below which a unit is used, seconds in it, its number format, and its names."""


def format_value(value: Any, spec: str) -> str:
    """Write a value as text.

    Args:
        value: a number, a text, a machine, or None if there is none.
        spec: a format specification of Python, or `time` or `machine`, both also with `-zh`.

    Raises:
        ValueError: the value cannot be written so.
        TypeError: the value cannot be written so.
    """
    if value is None:
        return "–"
    name, _, language = spec.partition("-")
    chinese = language == "zh"
    if name == "time":
        return _time(value, chinese)
    if name == "machine":
        return _machine(value, chinese)
    if isinstance(value, dict):
        raise ValueError(f"not one value; choose one of {', '.join(value)}")
    return format(value, spec)


def _time(seconds: float, chinese: bool) -> str:
    for limit, unit, form, names in _UNITS:
        if seconds < limit:
            return f"{form.format(seconds / unit)} {names[chinese]}"
    raise ValueError("no time")


def _machine(machine: Figures, chinese: bool) -> str:
    if machine["device"] != "cpu":
        return str(machine["device"])
    cores, bf16 = machine["cores"], machine["bf16"]
    if chinese:
        return f"{cores} 核、{f'{bf16} bf16' if bf16 else '无 bf16'}"
    return f"{cores} cores {f'with {bf16} bf16' if bf16 else 'without bf16'}"


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
                f"{took}{'，' if chinese else ', '}{_machine(measured['machine'], chinese)}",
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
    return f"{_table(head.split(' | '), rows)}\n\n{last}"


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
    return _table(head, rows)


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
    return _table(head, rows)


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
        for style, share in evaluate["forms"].items()
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
    return f"{_table(['', 'finetuned', 'people, or for comparison'], rows)}\n\n{note}"


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
    return f"{_table(head, rows)}\n\nMeasured at commit {entry['commit']}, {machine}."


def asked(figures: Figures) -> str:
    """Return a command that asks for a poem, and the poem, as a code block."""
    shown = figures["requests"]["shown"]
    return f"```console\n$ {shown['command']}\n{as_lines(shown['poem'])}\n```"


def _seconds(entry: Figures) -> list[str]:
    return [format_value(entry[name], ".2f") for name in ("median_seconds", "p95_seconds")]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


_ENGLISH: dict[str, Callable[..., str]] = {
    "results": results,
    "verse": verse,
    "notebook-curve": notebook_curve,
}
BLOCKS: dict[str, Callable[[Figures], str]] = {
    "finetuned": finetuned,
    "requests": requests,
    "asked": asked,
    **_ENGLISH,
    **{f"{name}-zh": partial(block, chinese=True) for name, block in _ENGLISH.items()},
}
"""Name of a block → the function that writes it."""


def this_machine() -> dict[str, Any]:
    """Describe the processor that trains here, as far as it decides speed and rounding."""
    device = choose_device("auto")
    if device.type != "cpu":
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
        return {"device": name}
    has = torch.cpu.get_capabilities()
    kind = "AMX" if has.get("amx_bf16") else "AVX-512" if has.get("avx512_bf16") else None
    return {"device": "cpu", "cores": torch.get_num_threads(), "bf16": kind}
