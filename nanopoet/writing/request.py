"""A request: what a poem shall be."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from nanopoet.common.errors import NanopoetError
from nanopoet.models.sampling import Options, Sampling
from nanopoet.writing.refused import RefusedError

MOST_KEYWORDS = 6
"""Largest number of keywords. Each keyword doubles the number of states."""
LONGEST = 300
"""Largest number of characters of a text in a request; the longest tune has 240."""
LONGEST_DRAFT = LONGEST + Sampling().max_new_tokens
"""The same of a draft: a poem that went on from the longest opening can be rewritten."""


def _joined(word: Any) -> Any:
    return "".join(word.split()) if isinstance(word, str) else word


Keyword = Annotated[str, Field(min_length=1, max_length=20), BeforeValidator(_joined)]
"""A word without spaces."""


class Request(Options):
    """The properties that a poem shall have; an empty field asks for nothing.

    Spaces in a text are left out. The title of a field is its Chinese name.
    """

    form: str = Field(
        default="", max_length=30, title="体裁", description="七绝, 七言绝句, or a tune as 浣溪沙"
    )
    author: str = Field(
        default="", max_length=30, title="作者", description="an author of the training poems"
    )
    title: str = Field(
        default="", max_length=100, title="题目", description="what the poem is about"
    )
    opening: str = Field(
        default="", max_length=LONGEST, title="开头", description="how the poem begins"
    )
    rhyme: str = Field(
        default="", max_length=10, title="韵部", description="a rhyme group as 一東, or 東"
    )
    rhyme_characters: str = Field(
        default="",
        max_length=60,
        title="次韵",
        description="the rhyme characters in order, ？ for a free one",
    )
    rhyme_from: str = Field(
        default="",
        max_length=LONGEST,
        title="限用韵字",
        description="characters from which all rhymes come",
    )
    acrostic: str = Field(
        default="",
        max_length=60,
        title="藏头",
        description="the first characters of the lines, ？ for a free one",
    )
    keywords: tuple[Keyword, ...] = Field(
        default=(),
        max_length=MOST_KEYWORDS,
        strict=False,
        title="必含词语",
        description="words that must occur",
    )
    draft: str = Field(
        default="",
        max_length=LONGEST_DRAFT,
        title="补字",
        description="a poem with marks, in which ？ or □ stands for a character to write",
    )
    keep_rules: bool = Field(
        default=False,
        title="遵守格律",
        description="rhyme, tones, and no rhyme character that comes twice",
    )

    @field_validator("*")
    @classmethod
    def _without_spaces(cls, value: Any, field: ValidationInfo) -> Any:
        """Leave out spaces. A new line that ends a line of the poem stays."""
        if not isinstance(value, str):
            return value
        if field.field_name not in ("opening", "draft"):
            return "".join(value.split())
        return "\n".join("".join(line.split()) for line in value.split("\n")).strip("\n")

    @classmethod
    def _refusal(cls, problem: dict[str, Any]) -> NanopoetError:
        error = super()._refusal(problem)
        name = str(problem["loc"][0]) if problem["loc"] else ""
        if problem["type"] not in ("string_too_long", "too_long") or name not in cls.model_fields:
            return error
        most = problem["ctx"]["max_length"]
        limit = (
            f"太多：最多 {most} 个" if problem["type"] == "too_long" else f"太长：最多 {most} 个字"
        )
        return RefusedError(str(error), f"{chinese_name(name)}{limit}")


class SampledRequest(Sampling, Request):
    """A request, and how to sample its poems."""

    def request(self) -> Request:
        """Return what the poems shall be."""
        return Request(**{name: getattr(self, name) for name in Request.model_fields})

    def sampling(self) -> Sampling:
        """Return how to sample them."""
        return Sampling(**{name: getattr(self, name) for name in Sampling.model_fields})


def chinese_name(field: str) -> str:
    """Return the Chinese name of a field of a request, as the page and refusals have it."""
    return str(Request.model_fields[field].title)
