"""Rules against the judge of verse, on all texts of a small vocabulary."""

import math

import pytest
import torch

from nanopoet.prosody.rhyme import LEVEL, OBLIQUE
from nanopoet.prosody.rules import is_regulated, is_special, share_a_group
from nanopoet.writing.keywords import Keywords
from nanopoet.writing.rhymes import Rhymes
from nanopoet.writing.rules import ImpossibleError, Tones
from nanopoet.writing.shapes import Shape, plain_shape
from nanopoet.writing.vocabulary import Vocabulary
from tests.support.writing import (
    COMMON,
    accepts,
    all_texts,
    has_dead_end,
    lines_of,
    make_vocabulary,
)

TONES = "光月看"
"""A character of level tone, one of oblique tone, and one of both."""
UNKNOWN = "𠮷"
RHYMES = "光霜鄉看寒翰東" + UNKNOWN
"""Characters of five groups; 看 is in two, and 翰 shares each with it."""


def tones_of(vocabulary: Vocabulary, shape: Shape, domains: list[torch.Tensor]) -> list[Tones]:
    """Return the rules of both beginnings that the domains leave."""
    found = []
    for first in (LEVEL, OBLIQUE):
        try:
            found.append(Tones(vocabulary, shape, domains, first))
        except ImpossibleError:
            continue
    return found


@pytest.mark.parametrize(
    ("lengths", "characters"),
    [([5], TONES + UNKNOWN), ([7], TONES), ([5, 5], "光月"), ([5, 5], "看月")],
)
def test_tones_accept_what_the_judge_finds_regulated(lengths: list[int], characters: str) -> None:
    shape, vocabulary = plain_shape(lengths), make_vocabulary(characters)
    domains = [vocabulary.han] * sum(lengths)
    rules = tones_of(vocabulary, shape, domains)
    answers = set()
    for tokens in all_texts(vocabulary, sum(lengths)):
        lines = lines_of(vocabulary.tokenizer.decode(tokens), shape)
        judged = is_regulated(lines) is True
        assert any(accepts(rule, tokens) for rule in rules) == judged, lines
        answers.add((judged, any(map(is_special, lines))))
    assert len(answers) >= 3  # kept and broken, and kept in the special way
    assert not any(has_dead_end(rule, domains) for rule in rules)


@pytest.mark.parametrize("lengths", [[5] * 4, [7] * 4, [5] * 8, [7] * 8])
def test_tones_agree_with_the_judge_on_whole_poems(lengths: list[int]) -> None:
    """Poems that keep the rule come from the automaton, and one character of each is changed."""
    shape, vocabulary = plain_shape(lengths), make_vocabulary(COMMON)
    domains = [vocabulary.han] * sum(lengths)
    rules = tones_of(vocabulary, shape, domains)
    generator = torch.Generator().manual_seed(0)

    def pick(mask: torch.Tensor) -> int:
        return int(mask.double().multinomial(1, generator=generator))

    broken = 0
    for _ in range(20):
        for rule in rules:
            state, tokens = rule.start(), []
            for slot in range(sum(lengths)):
                tokens.append(pick(rule.allowed(state, slot)))
                state = rule.advance(state, slot, tokens[-1])
            assert is_regulated(lines_of(vocabulary.tokenizer.decode(tokens), shape))
            tokens[pick(torch.ones(len(tokens)))] = pick(vocabulary.han)
            judged = is_regulated(lines_of(vocabulary.tokenizer.decode(tokens), shape)) is True
            assert any(accepts(other, tokens) for other in rules) == judged
            broken += not judged
    assert broken > 3


def test_given_characters_that_break_the_tones_are_found_before() -> None:
    vocabulary, shape = make_vocabulary(TONES), plain_shape([5, 5])
    domains = [vocabulary.mask(c) for c in "光光月光月"] + [vocabulary.han] * 5
    assert len(tones_of(vocabulary, shape, domains)) == 1  # the second place is 平
    with pytest.raises(ImpossibleError, match="line 1 breaks the tones"):
        Tones(vocabulary, shape, domains, OBLIQUE)
    with pytest.raises(ImpossibleError, match="line 2 breaks the tones"):
        Tones(vocabulary, shape, [*domains[:6], vocabulary.mask("光"), *domains[7:]], LEVEL)


@pytest.mark.parametrize("scheme", ["-a-a", "aa-a", "aabb", "aaa-", "aa-A"])
@pytest.mark.parametrize("given", [{}, {3: "看"}, {0: "光"}, {0: "光", 1: "霜"}])
def test_rhymes_accept_what_the_judge_finds_rhyming(scheme: str, given: dict[int, str]) -> None:
    """Lines of one character. The first line ends in no rhyme character, if it need not rhyme."""
    vocabulary, shape = make_vocabulary(RHYMES), Shape((1, 1, 1, 1), scheme)
    domains = [vocabulary.mask(given.get(line, RHYMES)) & vocabulary.han for line in range(4)]
    rule = Rhymes(vocabulary, shape, domains)
    count = 0
    for tokens in all_texts(vocabulary, 4):
        if not all(domain[token] for domain, token in zip(domains, tokens, strict=True)):
            continue
        text = vocabulary.tokenizer.decode(tokens)
        rhymes = [
            [c for c, letter in zip(text, scheme, strict=True) if letter.lower() == name]
            for name in sorted(set(scheme.lower()) - {"-"})
        ]
        once = [c for c, letter in zip(text, scheme, strict=True) if letter.islower()]
        once += text[0] if scheme[0] == "-" else ""
        judged = len(set(once)) == len(once) and all(share_a_group(each) for each in rhymes)
        assert accepts(rule, tokens) == judged, text
        count += judged
    assert count > 0
    if scheme != "aabb":  # two rhymes may take each other's characters
        assert not has_dead_end(rule, rule.domains)


def test_rhymes_refuse_what_no_poem_can_keep() -> None:
    vocabulary = make_vocabulary(RHYMES)
    shape = Shape((1, 1, 1), "aaa")
    free, light, east = vocabulary.han, vocabulary.mask("光"), vocabulary.mask("東")
    with pytest.raises(ImpossibleError, match="光、東 share no rhyme group"):
        Rhymes(vocabulary, shape, [light, free, east])
    with pytest.raises(ImpossibleError, match="lines 1 and 3 rhyme with the same character 光"):
        Rhymes(vocabulary, shape, [light, free, light])
    with pytest.raises(ImpossibleError, match="for the ends of lines 1, 2 and 3"):
        Rhymes(vocabulary, shape, [east, free, free])


@pytest.mark.parametrize("words", [["山水"], ["山水", "水山"], ["山水", "水月", "月"], ["山山"]])
@pytest.mark.parametrize("given", [{}, {2: "月"}])
def test_keywords_occur_within_lines(words: list[str], given: dict[int, str]) -> None:
    vocabulary, shape = make_vocabulary("山水月日"), plain_shape([3, 2])
    domains = [vocabulary.mask(given.get(slot, "山水月日")) for slot in range(5)]
    rule = Keywords(vocabulary, shape, domains, [vocabulary.tokenizer.encode(w) for w in words], [])
    count = 0
    for tokens in all_texts(vocabulary, 5):
        if not all(domain[token] for domain, token in zip(domains, tokens, strict=True)):
            continue
        lines = lines_of(vocabulary.tokenizer.decode(tokens), shape)
        judged = all(any(word in line for line in lines) for word in words)
        assert accepts(rule, tokens) == judged, lines
        count += judged
    assert count > 0
    assert not has_dead_end(rule, domains)


def test_a_word_ends_a_line_only_if_it_rhymes() -> None:
    """Together the two rules have no dead end, as they have one beside the other."""
    vocabulary, shape = make_vocabulary("光霜寒看"), Shape((3, 3), "aa")
    domains, encode = [vocabulary.han] * 6, vocabulary.tokenizer.encode
    rhymes = Rhymes(vocabulary, shape, domains)
    rule = Keywords(vocabulary, shape, domains, [encode("寒光")], [], rhymes)
    assert not has_dead_end(rule, domains)
    assert accepts(rule, encode("光光霜光寒光"))
    assert accepts(rule, encode("光光寒寒光看"))
    assert not accepts(rule, encode("光光寒光寒光"))
    alone = Keywords(vocabulary, shape, domains, [encode("寒光")], [])
    assert accepts(alone, encode("光光寒光寒光"))
    light = [*domains[:2], vocabulary.mask("寒"), *domains[:2], vocabulary.mask("看")]
    with pytest.raises(ImpossibleError, match="寒光看寒 do not fit"):
        Keywords(vocabulary, shape, light, [encode("寒光看寒")], [], rhymes)


def test_hints_try_a_word_where_it_has_room_and_then_go_on() -> None:
    vocabulary, shape = make_vocabulary("山水月日"), plain_shape([3, 2])
    word = vocabulary.tokenizer.encode("山水")
    rule = Keywords(vocabulary, shape, [vocabulary.han] * 5, [word], [[2.0, 1.0]])
    start = rule.start()
    assert rule.hints(start, 0) == {word[0]: 1 / 3}
    begun = rule.advance(start, 0, word[0])
    assert rule.hints(begun, 1) == {word[1]: 0.8}
    assert rule.log_potential(begun, 1) == -1.0
    assert rule.log_potential(start, 0) == pytest.approx(math.log(3) - 3.0)
    done = rule.advance(begun, 1, word[1])
    assert (rule.hints(done, 2), rule.log_potential(done, 2)) == ({}, 0.0)


def test_keywords_that_do_not_fit_are_refused() -> None:
    vocabulary, shape = make_vocabulary("山水月日"), plain_shape([3, 2])
    with pytest.raises(ImpossibleError, match="山水月、日日 do not fit") as caught:
        domains = [vocabulary.han] * 4 + [vocabulary.mask("月")]
        words = [vocabulary.tokenizer.encode(word) for word in ("山水月", "日日")]
        Keywords(vocabulary, shape, domains, words, [])
    assert "lines" in caught.value.english
