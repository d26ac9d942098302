"""The catalogue of a corpus: its authors and its tunes, with the shapes of each tune."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self, cast, get_args

from nanopoet.common.errors import FileError
from nanopoet.common.files import read_json, write_json
from nanopoet.common.text import LINE_ENDS
from nanopoet.corpus.poems import Poem
from nanopoet.prosody.forms import FORMS, SHIJING, split_lines
from nanopoet.prosody.script import Script, script_of
from nanopoet.writing.schemes import rhyme_scheme
from nanopoet.writing.shapes import Shape

CATALOGUE = "catalogue.json"
"""Name of the file in a model folder."""
ATTESTED = 3
"""Smallest number of poems with the line lengths of a shape."""
COMMON_MARK = 0.05
"""Smallest share of the poems of a shape in which a mark ends a line that it may end."""


class TuneShape(NamedTuple):
    """A shape of a tune.

    Attributes:
        shape: the lines; its marks are the common ones, the commonest first.
        share: share of the poems of the tune that have it.
    """

    shape: Shape
    share: float


class Tune(NamedTuple):
    """A tune.

    Attributes:
        poems: number of its poems.
        shapes: its attested shapes, the commonest first.
        script: the script of most of its poems.
    """

    poems: int
    shapes: tuple[TuneShape, ...]
    script: Script | None


@dataclass(frozen=True)
class Catalogue:
    """Authors and tunes of a corpus.

    Attributes:
        authors: name → number of poems.
        tunes: name → tune.
        script: the script of most poems in the regular forms.
    """

    authors: dict[str, int]
    tunes: dict[str, Tune]
    script: Script | None

    @classmethod
    def of(cls, poems: Iterable[Poem]) -> Self:
        """Count authors and learn tunes from poems, which are read once."""
        authors: Counter[str] = Counter()
        regular = {form.style for form in FORMS.values()}
        contents: defaultdict[str, list[str]] = defaultdict(list)
        script: Counter[Script | None] = Counter()
        for poem in poems:
            if poem["author"]:
                authors[poem["author"]] += 1
            if poem["style"] in regular:
                script.update(map(script_of, poem["content"]))
            elif poem["style"] not in ("", SHIJING):
                contents[poem["style"]].append(poem["content"])
        ordered = sorted(contents.items(), key=lambda pair: (-len(pair[1]), pair[0]))
        return cls(
            dict(sorted(authors.items(), key=lambda pair: (-pair[1], pair[0]))),
            {name: _tune(each) for name, each in ordered},
            _main(script),
        )

    def save(self, path: str | Path) -> None:
        """Write the catalogue as JSON."""
        tunes = {
            name: {
                "poems": tune.poems,
                "script": tune.script,
                "shapes": [
                    {
                        "lengths": " ".join(map(str, shape.lengths)),
                        "scheme": shape.scheme,
                        "marks": " ".join(shape.marks),
                        "share": share,
                    }
                    for shape, share in tune.shapes
                ],
            }
            for name, tune in self.tunes.items()
        }
        write_json(path, {"script": self.script, "authors": self.authors, "tunes": tunes})

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a catalogue that `save` wrote.

        Raises:
            FileError: the file is missing or is not a catalogue.
        """
        raw = read_json(path)
        try:
            return cls(
                {str(name): int(count) for name, count in raw["authors"].items()},
                {name: _read_tune(tune) for name, tune in raw["tunes"].items()},
                _read_script(raw["script"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            raise FileError(path, "not a catalogue") from None


def _read_tune(raw: Any) -> Tune:
    """Read a tune that `save` wrote."""
    shapes = [
        TuneShape(
            Shape(
                tuple(map(int, each["lengths"].split())),
                each["scheme"],
                tuple(each["marks"].split(" ") if each["marks"] else ()),
            ),
            float(each["share"]),
        )
        for each in raw["shapes"]
    ]
    for shape, _ in shapes:
        if not len(shape.lengths) == len(shape.scheme) > 0 or min(shape.lengths) < 1:
            raise ValueError
        if len(shape.marks) not in (0, len(shape.lengths)):
            raise ValueError
    return Tune(int(raw["poems"]), tuple(shapes), _read_script(raw["script"]))


def _read_script(raw: Any) -> Script | None:
    if raw is not None and raw not in get_args(Script):
        raise ValueError
    return cast("Script | None", raw)


def _main(scripts: Counter[Script | None]) -> Script | None:
    """Return the script of most characters that are of one; None if there are none."""
    ranked = [script for script, _ in scripts.most_common() if script]
    return ranked[0] if ranked else None


def _tune(contents: Sequence[str]) -> Tune:
    """Learn the shapes of a tune."""
    lines = {content: split_lines(content) for content in contents}
    alike: defaultdict[tuple[int, ...], list[str]] = defaultdict(list)
    for content in contents:
        alike[tuple(map(len, lines[content]))].append(content)
    attested = [
        (lengths, each) for lengths, each in alike.items() if lengths and len(each) >= ATTESTED
    ]
    attested.sort(key=lambda pair: (-len(pair[1]), pair[0]))
    shapes = [
        TuneShape(
            Shape(
                lengths,
                rhyme_scheme([lines[content] for content in each]),
                _marks(each, len(lengths)),
            ),
            round(len(each) / len(contents), 4),
        )
        for lengths, each in attested
    ]
    script = Counter(script_of(character) for content in contents for character in content)
    return Tune(len(contents), tuple(shapes), _main(script))


def _marks(contents: Sequence[str], lines: int) -> tuple[str, ...]:
    """Return the marks that commonly end each line, the commonest first.

    Poems with another number of marks than lines are left out; without any others nothing is known.
    """
    found = [[mark for mark in content if mark in LINE_ENDS] for content in contents]
    columns = zip(*(marks for marks in found if len(marks) == lines), strict=True)
    return tuple(
        "".join(
            mark
            for mark, times in Counter(column).most_common()
            if times >= COMMON_MARK * len(column)
        )
        for column in columns
    )
