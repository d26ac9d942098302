"""The knobs of writing, with one name, one default and one range wherever they are turned."""

from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any, NamedTuple

from nanopoet.common.errors import NanopoetError

MOST_POEMS = 256
"""Of one request: 256 at once take some seconds on two cores and some hundred megabytes."""
LONGEST_PROMPT = 1000
"""Characters."""


class Knob(NamedTuple):
    """What a parameter may be.

    Attributes:
        kind: `int` or `float`.
        default: its value where none is given.
        least: smallest value.
        most: largest value.
        meaning: in a few words.
    """

    kind: type[int] | type[float]
    default: float
    least: float
    most: float
    meaning: str

    @property
    def range(self) -> str:
        """What is allowed, in words."""
        return f"{self.least:g} to {self.most:.10g} ({self.meaning})"

    def check(self, name: str, value: Any) -> None:
        """Refuse a value of the parameter `name` that is of another kind or out of range.

        Raises:
            NanopoetError: it says what is allowed.
        """
        kind = Integral if self.kind is int else Real
        number = isinstance(value, kind) and not isinstance(value, bool)
        if not (number and self.least <= value <= self.most):  # NaN is not, either
            noun = "a whole number, " if self.kind is int else ""
            raise NanopoetError(f"{name} = {value} is not allowed: {noun}{self.range}")


KNOBS = {
    "max_new_tokens": Knob(int, 100, 1, 1000, "characters beyond the prompt, at most"),
    "temperature": Knob(float, 1.0, 0, 10, "below 1 plays safe, 0 takes the likeliest"),
    "top_k": Knob(int, 0, 0, 100_000, "draw from so many of the likeliest; 0 from all"),
    "top_p": Knob(float, 1.0, 1e-6, 1, "draw from the likeliest, up to this probability"),
    "seed": Knob(int, 0, 0, 2**32 - 1, "the same seed writes the same poems"),
    "count": Knob(int, 1, 1, MOST_POEMS, "poems for each prompt"),
}


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """A value for each of `KNOBS`.

    Raises:
        NanopoetError: one is of another kind or out of its range.
    """

    max_new_tokens: int = 100
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        for field in fields(self):
            KNOBS[field.name].check(field.name, getattr(self, field.name))


def check_prompt(prompt: str) -> None:
    """Refuse a prompt that is too long or no text.

    Raises:
        NanopoetError: it says what is allowed.
    """
    if len(prompt) > LONGEST_PROMPT:
        raise NanopoetError(
            f"a prompt of {len(prompt)} characters is not allowed: at most {LONGEST_PROMPT} "
            f"characters"
        )
    try:
        prompt.encode()
    except UnicodeEncodeError:
        raise NanopoetError(f"the prompt {prompt!r} is not text: give it as UTF-8") from None
