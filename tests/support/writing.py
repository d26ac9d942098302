"""Tiny vocabularies and models for the tests of writing, and exact answers by enumeration."""

from collections.abc import Hashable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch

from nanopoet.corpus.poems import Poem
from nanopoet.models.base import LanguageModel
from nanopoet.models.checkpoint import save_model
from nanopoet.models.registry import make_model
from nanopoet.tokens.tokenizer import SPECIAL_TOKENS, CharTokenizer
from nanopoet.writing.catalogue import CATALOGUE, Catalogue
from nanopoet.writing.predicate import Predicate
from nanopoet.writing.rules import Rule
from nanopoet.writing.shapes import Shape
from nanopoet.writing.vocabulary import Vocabulary, vocabulary_of

COMMON = "山光水長江鄉月夜天年風東空中人春花家秋流樓愁雲君寒看不日落白獨上下一入去有小客望坐石雪"
"""Characters of both tones, of which some share rhyme groups."""


def make_vocabulary(characters: str) -> Vocabulary:
    """Make the vocabulary of some characters and the marks ，。."""
    return vocabulary_of(CharTokenizer.from_characters(characters + "，。"))


def peaked_model(tokenizer: CharTokenizer, block_size: int = 32) -> LanguageModel:
    """Make a random model that prefers some characters clearly."""
    config: dict[str, Any] = {"vocab_size": tokenizer.vocab_size, "emb_size": 16}
    config |= {"block_size": block_size, "layer_num": 1, "head_num": 2, "mlp_size": 24}
    config |= {"architecture": "modern", "dropout": 0.0}
    model = make_model(config, torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.45, generator=generator)
    return model.eval()


TUNES_AND_AUTHORS = [
    Poem(content=content, title="山", author=author, style=style)
    for author in ("李白", "李白", "杜甫")
    for style, content in (("小令", "山光，水月。"), ("浣溪沙", "山光水月夜天風，東空中。"))
]
"""Poems of which a catalogue has two tunes and two authors."""


def save_poets(folder: Path) -> None:
    """Save random models with the same weights: `poet`, and `finetuned`, which takes fields."""
    tokenizer = CharTokenizer.from_characters(COMMON + "，。李杜甫小令五言绝句夏冬明依盡")
    for name in ("poet", "finetuned"):
        model = peaked_model(tokenizer, block_size=64)
        model.takes_fields = name == "finetuned"
        save_model(folder / name, model, tokenizer, {})
    Catalogue.of(TUNES_AND_AUTHORS).save(folder / "finetuned" / CATALOGUE)


def accepts(rule: Rule, tokens: Sequence[int]) -> bool:
    """Tell whether a rule accepts the characters of a poem."""
    state: Hashable = rule.start()
    for slot, token in enumerate(tokens):
        if not rule.allowed(state, slot)[token]:
            return False
        state = rule.advance(state, slot, token)
    return True


def has_dead_end(rule: Rule, domains: Sequence[torch.Tensor]) -> bool:
    """Tell whether some allowed characters lead to a state that allows none."""
    states: set[Hashable] = {rule.start()}
    for slot, domain in enumerate(domains):
        following = set()
        for state in states:
            tokens = (rule.allowed(state, slot) & domain).nonzero()[:, 0].tolist()
            if not tokens:
                return True
            following |= {rule.advance(state, slot, token) for token in tokens}
        states = following
    return False


def all_texts(vocabulary: Vocabulary, length: int) -> Iterator[tuple[int, ...]]:
    """Yield all texts of the characters of a vocabulary."""
    yield from product(vocabulary.han.nonzero()[:, 0].tolist(), repeat=length)


def lines_of(text: str, shape: Shape) -> list[str]:
    """Split characters without marks into the lines of a shape."""
    starts = [sum(shape.lengths[:line]) for line in range(len(shape.lengths))]
    return [text[a : a + n] for a, n in zip(starts, shape.lengths, strict=True)]


def exact_distribution(
    model: LanguageModel, prompt: Sequence[int], predicate: Predicate, end_id: int
) -> dict[tuple[int, ...], float]:
    """Return the probability of each poem on condition of a predicate, by enumeration.

    The model is asked for the distribution without special tokens other than the end.
    """
    texts: list[tuple[Hashable, tuple[int, ...], float]] = [(predicate.start(), (), 0.0)]
    ended: dict[tuple[int, ...], float] = {}
    while texts:
        ids = torch.tensor([[*prompt, *text] for _, text, _ in texts])
        logits, _ = model(ids)
        logits = logits[:, -1].detach()
        end = logits[:, end_id].clone()
        logits[:, : len(SPECIAL_TOKENS)] = float("-inf")
        logits[:, end_id] = end
        logs = logits.log_softmax(dim=-1)
        following = []
        for (state, text, log), row in zip(texts, logs, strict=True):
            for token in predicate.allowed(state).nonzero()[:, 0].tolist():
                after = predicate.advance(state, token)
                if after is None:
                    continue
                if predicate.ended(after):
                    ended[text] = log + row[token].item()
                else:
                    following.append((after, (*text, token), log + row[token].item()))
        texts = following
    total = torch.tensor(list(ended.values()), dtype=torch.float64).logsumexp(0)
    return {text: (torch.tensor(log).double() - total).exp().item() for text, log in ended.items()}


TUNE_POEMS = (
    "昨夜雨疏风骤。浓睡不消残酒。试问卷帘人，却道海棠依旧。知否。知否。应是绿肥红瘦。",
    "常记溪亭日暮。沉醉不知归路。兴尽晚回舟，误入藕花深处。争渡。争渡。惊起一滩鸥鹭。",
    "门外绿阴千顷。两两黄鹂相应。睡起不胜情，行到碧梧金井。人静。人静。风弄一枝花影。",
    "池上春归何处。满目落花飞絮。孤馆悄无人，梦断月堤归路，无绪。无绪。帘外五更风雨。",
)
"""Four 如梦令, by 李清照, 李清照, 曹组 and 秦观, with the marks of the corpus but for one."""
