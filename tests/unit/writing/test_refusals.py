"""A request that no poem satisfies is refused in one sentence, in English and in Chinese."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest

import nanopoet.writing
from nanopoet.corpus.poems import Poem
from nanopoet.writing.catalogue import Catalogue
from nanopoet.writing.refused import RefusedError
from nanopoet.writing.request import Request
from nanopoet.writing.resolve import resolve
from tests.support.poems import QUIET_NIGHT as QUIET
from tests.support.requests import TOKENIZER, plan

REFUSALS: list[tuple[dict[str, Any], str, str]] = [
    (
        {"author": "杜浦"},
        "no training poem is by 杜浦: nearest are 杜甫",
        "训练诗作里没有杜浦的诗：最接近的是杜甫",
    ),
    (
        {"author": "Li Bai"},
        "no training poem is by LiBai: known are 杜甫、陆游、李白 and others",
        "训练诗作里没有LiBai的诗：可选杜甫、陆游、李白等",
    ),
    (
        {"form": "如梦"},
        "neither 五绝、七绝、五律、七律 nor a known tune: nearest are 如梦令",
        "“如梦”既不是五绝、七绝、五律、七律，也不是训练诗作里的词牌：最接近的是如梦令",
    ),
    (
        {"form": "七言"},
        "nor a known tune: nearest are 七言绝句、七言律诗",
        "也不是训练诗作里的词牌：最接近的是七言绝句、七言律诗",
    ),
    (
        {"form": "失調名"},
        "no line lengths that three training poems share: known are 如梦令",
        "词牌“失調名”没有三首句式相同的训练诗作：可选如梦令等",
    ),
    (
        {"rhyme": "東山"},
        "rhyme = 東山 is no group of the 平水韻: nearest are 上平聲一東",
        "平水韵没有“東山”这个韵部：最接近的是上平聲一東",
    ),
    (
        {"rhyme": "佳"},
        "rhyme = 佳 has no characters in the training poems: they have 上平聲一東、",
        "训练诗作里没有上平聲九佳的字：可选上平聲一東、",
    ),
    (
        {"acrostic": "山水月", "form": "五绝"},
        "acrostic = 山水月 has 3 characters: give one for each line, 4",
        "藏头“山水月”有 3 个字：每句一个，应为 4 个",
    ),
    (
        {"acrostic": "山水月"},
        "give one for each line, 4 or 8",
        "藏头“山水月”有 3 个字：每句一个，应为 4 或 8 个",
    ),
    (
        {"rhyme_characters": "光霜鄉", "form": "五绝"},
        "has 3 characters: give one for each line that rhymes, 2",
        "次韵“光霜鄉”有 3 个字：每个押韵的句子一个，应为 2 个",
    ),
    (
        {"form": "五绝", "keywords": ["山水月光天年"]},
        "is longer than a line: give at most 5 characters",
        "必含词语“山水月光天年”比一句还长：最多 5 个字",
    ),
    (
        {"form": "五绝", "keywords": ["山水月光", "天年不看", "上下一入", "長江有小", "坐石獨落"]},
        "山水月光、天年不看、上下一入、長江有小、坐石獨落 do not fit into the lines",
        "没有这样的五绝：必含词语“山水月光、天年不看、上下一入、長江有小、坐石獨落”和其他要求",
    ),
    (
        {"form": "五绝", "keywords": ["山，水"]},
        "keywords = 山，水 has ，: give Chinese characters alone, as 山 水",
        "必含词语“山，水”里有“，”：请只填汉字，如“山 水”",
    ),
    (
        {"form": "五绝", "acrostic": "山，水，月，光"},
        "acrostic = 山，水，月，光 has ，: give Chinese characters alone, as 山水月光",
        "藏头“山，水，月，光”里有“，”：请只填汉字，如“山水月光”",
    ),
    (
        {"form": "五绝", "rhyme_from": "，。"},
        "rhyme_from = ，。 has ，、。: give Chinese characters alone, as 山水",
        "限用韵字“，。”里有“，、。”：请只填汉字",
    ),
    (
        {"form": "五绝", "acrostic": "山、水、月。光！"},
        "acrostic = 山、水、月。光！ has 、、！, which the training poems lack",
        "藏头“山、水、月。光！”里的“、、！”在训练诗作中没有：请换别的字",
    ),
    (
        {"form": "五绝", "opening": "山水，"},
        "no poem for 五绝 can be so: the opening does not fit: line 1 has 2 characters",
        "没有这样的五绝：开头不合句式：第 1 句有 2 个字，应为 5 个",
    ),
    (
        {"form": "五绝", "draft": "？" * 21},
        "the draft does not fit: it goes on after line 4",
        "补字不合句式：第 4 句是最后一句，后面还有字",
    ),
    (
        {"form": "五绝", "opening": "，"},
        "the mark ， stands at the beginning of line 1",
        "开头不合句式：第 1 句以标点“，”开头",
    ),
    (
        {"form": "五绝", "opening": "月", "acrostic": "光？？？"},
        "character 1 of line 1 is 月 by opening and 光 by acrostic",
        "第 1 句第 1 字，按开头是“月”，按藏头是“光”",
    ),
    (
        {"form": "五绝", "rhyme_characters": "光東", "keep_rules": True},
        "光、東 share no rhyme group",
        "“光、東”不同韵",
    ),
    (
        {"form": "五绝", "rhyme_characters": "光光", "keep_rules": True},
        "lines 2 and 4 rhyme with the same character 光",
        "第 2、4 句的韵脚同是“光”",
    ),
    (
        {"form": "五绝", "rhyme_from": "光東", "keep_rules": True},
        "no rhyme group has characters for the ends of lines 2 and 4",
        "没有一个韵部的字够第 2、4 句押韵",
    ),
    (
        {"form": "五绝", "rhyme": "陽", "rhyme_characters": "？東"},
        "東 at the end of line 4 is in 上平聲一東, not in 下平聲七陽",
        "第 4 句句末的“東”属上平聲一東，不属下平聲七陽",
    ),
    (
        {"form": "五绝", "rhyme_from": "光霜", "rhyme_characters": "？東"},
        "東 at the end of line 4 is not in rhyme_from = 光霜",
        "第 4 句句末的“東”不在限用韵字“光霜”里",
    ),
    (
        {"form": "五绝", "rhyme": "陽", "rhyme_from": "東"},
        "rhyme_from = 東 has none of 下平聲七陽",
        "限用韵字“東”里没有下平聲七陽的字",
    ),
    (
        {"form": "五绝", "keep_rules": True, "opening": QUIET[:12]},
        "no poem for 五绝 can be so: line 2 breaks the tones of regular verse: 上 is not 平",
        "没有这样的五绝：第 2 句平仄不合律：“上”应为平声",
    ),
    (
        {"form": "五绝", "keep_rules": True, "opening": "白日依山盡黃啼"},
        "line 2 breaks the tones of regular verse: the tone of 啼 is not known",
        "第 2 句平仄不合律：“啼”的平仄不详",
    ),
    (
        {"form": "五绝", "keep_rules": True, "rhyme": "陽", "draft": "？月？？？？月"},
        "line 2 breaks the tones of regular verse: 月 is not 平",
        "第 2 句平仄不合律：“月”应为平声",
    ),
    (
        {"form": "五绝", "keep_rules": True, "rhyme_characters": "啼？"},
        "the rhyme group of 啼 is not known",
        "“啼”的韵部不详",
    ),
    (
        {"form": "五绝", "keep_rules": True, "draft": "？？？？霜" + "？" * 14 + "霜"},
        "lines 1 and 4 rhyme with the same character 霜",
        "第 1、4 句的韵脚同是“霜”",
    ),
    (
        {"keep_rules": True, "opening": "白日依山盡獨獨，黃月"},
        "no poem can be so: line 2 breaks the tones of regular verse: 月 is not 平",
        "没有这样的诗：第 2 句平仄不合律：“月”应为平声",
    ),
    (
        {"keywords": ["龘"]},
        "keywords = 龘 has 龘, which the training poems lack",
        "必含词语“龘”里的“龘”在训练诗作中没有：请换别的字",
    ),
    (
        {"draft": "？？，？。", "keep_rules": True},
        "keep_rules is for regular forms and tunes",
        "只有绝句、律诗和词才有格律：请每句写五字或七字，或选定体裁",
    ),
    (
        {"draft": "山？，\n？龘。"},
        "draft = 山？， ？龘。 has 龘, which the training poems lack",
        "补字“山？， ？龘。”里的“龘”在训练诗作中没有",
    ),
    (
        {"form": "五绝", "opening": QUIET + "山", "draft": "？" * 20},
        "the opening does not fit: it goes on after line 4",
        "开头不合句式：第 4 句是最后一句",
    ),
    (
        {"form": "五绝", "opening": "床前明月光。", "draft": "？？？？？，"},
        "line 1 ends in 。 by opening and ， by draft",
        "第 1 句句末，按开头是“。”，按补字是“，”",
    ),
    (
        {"draft": "。"},
        "the draft has no characters",
        "补字一栏没有字：请用“？”表示每个待补的字",
    ),
    (
        {"draft": "？。", "rhyme": "陽"},
        "no lines of this shape are known to rhyme",
        "不知道这种句式哪些句子押韵",
    ),
]
"""Requests, and parts of both sentences with which they are refused."""


@pytest.mark.parametrize(("values", "english", "chinese"), REFUSALS)
def test_what_cannot_be_is_refused_with_the_reason(
    values: dict[str, Any], english: str, chinese: str
) -> None:
    with pytest.raises(RefusedError) as caught:
        plan(with_fields=True, **values)
    assert english in str(caught.value) == caught.value.english
    assert chinese in caught.value.chinese
    assert "\n" not in caught.value.english + caught.value.chinese
    given = "".join(map(str, values.values()))
    words = set(re.findall("[A-Za-z_]{2,}", caught.value.chinese))
    assert words <= set(re.findall("[A-Za-z]+", given)) | {"LiBai"}


@pytest.mark.parametrize(
    ("values", "english", "chinese"),
    [
        ({"author": "李白"}, "a pretrained model takes no author", "预训练模型不支持作者"),
        ({"title": "月"}, "a pretrained model takes no title", "预训练模型不支持题目"),
        ({"form": "如梦令"}, "a model without tunes", "没有“如梦令”这种体裁：预训练模型不会填词"),
    ],
)
def test_a_pretrained_model_takes_no_fields(
    values: dict[str, Any], english: str, chinese: str
) -> None:
    with pytest.raises(RefusedError) as caught:
        plan(**values)
    assert english in caught.value.english
    assert chinese in caught.value.chinese


@pytest.mark.parametrize("values", [{"author": "李白"}, {"form": "浣溪沙"}, {"form": "x"}])
def test_poems_without_authors_and_tunes_have_no_names_to_propose(values: dict[str, str]) -> None:
    """Only `content` is needed in a corpus."""
    catalogue = Catalogue.of([Poem(content="長風。", title="", author="", style="")])
    with pytest.raises(RefusedError, match=r"is by 李白: there is no other|nor a known tune"):
        resolve(Request.read(values), TOKENIZER, catalogue)


def test_writing_refuses_in_no_single_language() -> None:
    """The page shows a refusal in its language."""
    [folder] = nanopoet.writing.__path__
    raised = [
        node.func.id
        for path in Path(folder).glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    assert raised.count("RefusedError") > 10
    assert "NanopoetError" not in raised
