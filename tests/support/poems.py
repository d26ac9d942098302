"""Poems for tests: five famous ones, and any number of random ones."""

import random

from nanopoet.corpus.poems import Poem

QUIET_NIGHT = "床前明月光，疑是地上霜。舉頭望明月，低頭思故鄉。"  # 李白 靜夜思
STORK_TOWER = "白日依山盡，黃河入海流。欲窮千里目，更上一層樓。"  # 王之渙 登鸛雀樓
SPRING_VIEW = (  # 杜甫 春望
    "國破山河在，城春草木深。感時花濺淚，恨別鳥驚心。"
    "烽火連三月，家書抵萬金。白頭搔更短，渾欲不勝簪。"
)
DREAM_SONG = (
    "昨夜雨疏風驟，濃睡不消殘酒。試問卷簾人，卻道海棠依舊。知否，知否，應是綠肥紅瘦。"  # 李清照
)
MAPLE_BRIDGE = "月落烏啼霜滿天，江楓漁火對愁眠。姑蘇城外寒山寺，夜半鐘聲到客船。"  # 張繼 楓橋夜泊


def make_poems(count: int = 200, seed: int = 0) -> list[Poem]:
    """Verses of five characters out of 40, in four styles."""
    rng = random.Random(seed)  # noqa: S311
    characters = "春夏秋冬山水花月風雨雲天地人心日夜星河江海千里萬年長安白青黃紅來去歸飛落明清"
    poems = []
    for number in range(count):
        lines = ["".join(rng.choices(characters, k=5)) for _ in range(4)]
        content = "，".join(lines[:2]) + "。" + "，".join(lines[2:]) + "。"
        poems.append(
            Poem(content=content, title=f"其{number}", author="無名", style=f"樂府{number % 4}")
        )
    return poems
