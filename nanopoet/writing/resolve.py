"""A request → a plan: the prompt of the model and the predicate of its poems."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from nanopoet.common.text import LINE_ENDS
from nanopoet.prosody.forms import FORMS, style_of
from nanopoet.prosody.rhyme import group_names
from nanopoet.prosody.script import Script, script_of, to_script
from nanopoet.tokens.fields import encode_request
from nanopoet.tokens.prompts import in_known_script
from nanopoet.tokens.tokenizer import BEGIN_ID, CONTENT_END_ID, CharTokenizer
from nanopoet.writing.build import Wishes, build
from nanopoet.writing.catalogue import Catalogue
from nanopoet.writing.checks import check_characters, check_known, check_lengths, unknown
from nanopoet.writing.names import find_author, find_form, find_group, find_tune
from nanopoet.writing.placing import (
    LITERAL_BLANK,
    blanks_of,
    end_lines_by_marks,
    in_known_marks,
)
from nanopoet.writing.predicate import Either, Predicate
from nanopoet.writing.refused import RefusedError, on_one_line
from nanopoet.writing.request import Request
from nanopoet.writing.rules import ImpossibleError
from nanopoet.writing.shapes import REGULAR, Shape, plain_shape
from nanopoet.writing.vocabulary import Vocabulary, vocabulary_of

_TEXTS = ("opening", "draft", "acrostic", "rhyme_characters", "rhyme_from", "title")
"""Fields of a request that hold characters of the poem, and the title."""
Cost = Callable[[Sequence[int], Sequence[int]], Sequence[float]]
"""Takes the ids of a prompt and of a word, and returns −log p of each character of the word."""


class Note(NamedTuple):
    """A text of a request that was understood in another script, or with other marks.

    Attributes:
        field: its name in the request.
        given: the text.
        understood: the same as the model has it.
    """

    field: str
    given: str
    understood: str

    def __str__(self) -> str:
        return on_one_line(f"{self.field} = {self.given} was understood as {self.understood}")


@dataclass(frozen=True)
class Plan:
    """The meaning of a request to a model.

    Attributes:
        prompt: ids before the poem.
        opening: ids with which a poem begins that no predicate describes.
        predicate: what the poem must satisfy; None if it may be anything.
        end_id: the token that ends it.
        plain: whether nothing but form, author, title and opening was asked.
        notes: what was understood in another script.
    """

    prompt: tuple[int, ...]
    opening: tuple[int, ...]
    predicate: Predicate | None
    end_id: int
    plain: bool
    notes: tuple[Note, ...]


def resolve(
    request: Request,
    tokenizer: CharTokenizer,
    catalogue: Catalogue | None = None,
    cost: Cost | None = None,
) -> Plan:
    """Plan a poem.

    Args:
        request: what it shall be.
        tokenizer: the vocabulary of the model.
        catalogue: authors and tunes that the model knows; None for a model that is pretrained only
            and takes neither fields nor tunes.
        cost: guesses how unlikely the model finds a keyword; by default each is alike.

    Raises:
        RefusedError: no poem can be so. It says why, and names the nearest that would go.
    """
    end_id = BEGIN_ID if catalogue is None else CONTENT_END_ID
    style, shapes, script = _form(request, catalogue)
    given, notes = _in_script(request, tokenizer, script)
    author = _author(request.author, catalogue, script if request.form else None)
    if author != request.author:
        notes = (Note("author", request.author, author), *notes)
    if request.title and catalogue is None:
        raise RefusedError(
            "a pretrained model takes no title: give the folder of a finetuned model, or a keyword",
            "预训练模型不支持题目：请换用微调后的模型，或改填必含词语",
        )
    if catalogue is None:
        prompt = [BEGIN_ID]
    else:
        prompt = encode_request(tokenizer, author, style, given.title)
    plain = given.model_copy(update=dict.fromkeys(("form", "author", "title", "opening"), ""))
    is_plain = plain == Request()
    opening: list[int] = []
    predicate = None
    if shapes is None and is_plain:
        opening = tokenizer.encode(end_lines_by_marks(given.opening, tokenizer))
    else:
        predicate = _predicate(
            given, tokenizer, shapes, style, end_id, partial(cost or _alike, prompt)
        )
    return Plan(tuple(prompt), tuple(opening), predicate, end_id, is_plain, notes)


def _alike(prompt: Sequence[int], word: Sequence[int]) -> list[float]:
    del prompt
    return [5.0] * len(word)


def _form(
    request: Request, catalogue: Catalogue | None
) -> tuple[str, list[Shape] | None, Script | None]:
    """Return the style in the corpus, the shapes that are asked for, and the script of the corpus.

    Without a form the style is empty, and the shapes are those of a draft, or None.
    """
    script = catalogue.script if catalogue else None
    if short := find_form(request.form) if request.form else None:
        return style_of(short), [REGULAR[short]], script
    if request.form:
        tune = find_tune(request.form, catalogue)
        assert catalogue is not None
        found = catalogue.tunes[tune]
        return tune, [shape for shape, _ in found.shapes], found.script
    if request.draft:
        lengths = _lengths(request.draft)
        same = next((shape for shape in REGULAR.values() if shape.lengths == lengths), None)
        return "", [same or plain_shape(lengths)], script
    return "", None, script


def _lengths(draft: str) -> tuple[int, ...]:
    """Return the line lengths of a draft."""
    blanks = blanks_of(draft)
    for mark in LINE_ENDS:
        if mark not in blanks:
            draft = draft.replace(mark, "\n")
    lengths = tuple(len(line) for line in draft.split("\n") if line)
    if not lengths:
        raise RefusedError(
            "the draft has no characters: write ？ for each that shall be written",
            "补字一栏没有字：请用“？”表示每个待补的字",
        )
    return lengths


def _author(name: str, catalogue: Catalogue | None, script: Script | None) -> str:
    if not name:
        return ""
    if catalogue is None:
        raise RefusedError(
            "a pretrained model takes no author: give the folder of a finetuned model",
            "预训练模型不支持作者：请换用微调后的模型",
        )
    return find_author(name, catalogue, script)


def _in_script(
    request: Request, tokenizer: CharTokenizer, script: Script | None
) -> tuple[Request, tuple[Note, ...]]:
    """Convert the texts of a request to the script of the corpus, and say where that changes one.

    Raises:
        RefusedError: the vocabulary lacks a character.
    """
    script = script or _script_of_vocabulary(tokenizer)
    notes = []

    def convert(name: str, text: str) -> str:
        known = text
        if not (name == "draft" and LITERAL_BLANK in text) or unknown(text, name, tokenizer):
            ways = [to_script(text, script) if script else text, in_known_script(text, tokenizer)]
            known = min(ways, key=lambda way: len(unknown(way, name, tokenizer)))
        check_known(name, text, unknown(known, name, tokenizer))
        if name in ("opening", "draft"):
            blanks = blanks_of(text) if name == "draft" else ""
            known = in_known_marks(known, tokenizer, blanks)
        if known != text:
            notes.append(Note(name, text, known))
        return known

    texts: dict[str, object] = {name: convert(name, getattr(request, name)) for name in _TEXTS}
    texts["keywords"] = tuple(convert("keywords", word) for word in request.keywords)
    return request.model_copy(update=texts), tuple(notes)


def _script_of_vocabulary(tokenizer: CharTokenizer) -> Script | None:
    """Return the script of most characters that are of one script; None if there are none."""
    scripts = [script for script in map(script_of, tokenizer.characters) if script]
    return max(sorted(set(scripts)), key=scripts.count, default=None)


def _predicate(
    request: Request,
    tokenizer: CharTokenizer,
    shapes: Sequence[Shape] | None,
    style: str,
    end_id: int,
    cost: Callable[[Sequence[int]], Sequence[float]],
) -> Predicate:
    """Return the predicate of a request whose texts are in the script of the vocabulary."""
    vocabulary = vocabulary_of(tokenizer)
    candidates = list(REGULAR.values()) if shapes is None else list(shapes)
    check_characters(request, vocabulary)
    check_lengths(request, candidates)
    regular = style in {form.style for form in FORMS.values()} or not style
    if request.keep_rules and not regular:
        candidates = [shape for shape in candidates if shape.rhyming]
        if not candidates:
            raise RefusedError(
                f"no lines of the tune {request.form} are known to rhyme: leave keep_rules out",
                f"不知道词牌“{request.form}”哪些句子押韵：请不要勾选遵守格律",
            )
    if request.keep_rules and regular and not all(set(s.lengths) <= {5, 7} for s in candidates):
        raise RefusedError(
            "keep_rules is for regular forms and tunes: give lines of 5 or of 7 characters, or a "
            "form",
            "只有绝句、律诗和词才有格律：请每句写五字或七字，或选定体裁",
        )
    wishes = Wishes(
        **{name: getattr(request, name) for name in _TEXTS[:-1]},
        group=_group(request.rhyme, vocabulary) if request.rhyme else "",
        keywords=request.keywords,
        costs=tuple(tuple(cost(tokenizer.encode(word))) for word in request.keywords),
        rhymes=request.keep_rules,
        tones=request.keep_rules and regular,
    )
    ways, problems = [], []
    for shape in candidates:
        try:
            ways.append(build(vocabulary, shape, wishes, end_id))
        except ImpossibleError as impossible:
            problems.append(impossible)
    if not ways:
        problem = max(problems, key=lambda each: each.line)
        what = f" for {request.form}" if request.form else ""
        raise RefusedError(
            f"no poem{what} can be so: {problem.english}",
            f"没有这样的{request.form or '诗'}：{problem.chinese}",
        )
    return ways[0] if len(ways) == 1 else Either(ways)


def _group(name: str, vocabulary: Vocabulary) -> str:
    """Return a rhyme group of which the vocabulary has characters."""
    group = find_group(name, group_names())
    if group not in vocabulary.groups:
        others = "、".join(sorted(vocabulary.groups)[:3])
        raise RefusedError(
            f"rhyme = {name} has no characters in the training poems: they have {others} and "
            f"others",
            f"训练诗作里没有{group}的字：可选{others}等",
        )
    return group
