"""A request: what a poem shall be."""

import reprlib
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nanopoet.common.errors import NanopoetError

MOST_KEYWORDS = 6
"""Words of a request. The states grow twofold with each."""
LONGEST = 300
"""Characters of a text in a request, at most; the longest tune has 240."""


class Request(BaseModel):
    """The properties that a poem shall have; an empty field asks for nothing.

    `Request.read` checks values from outside. The constructor raises pydantic's own error.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    form: str = Field(default="", max_length=30, description="七绝, 七言绝句, or a tune as 浣溪沙")
    author: str = Field(default="", max_length=30, description="an author of the training poems")
    title: str = Field(default="", max_length=100, description="what the poem is about")
    opening: str = Field(default="", max_length=LONGEST, description="how the poem begins")
    rhyme: str = Field(default="", max_length=10, description="a rhyme group as 一東, or 東")
    rhyme_characters: str = Field(
        default="", max_length=60, description="the rhyme characters in order, ？ for a free one"
    )
    rhyme_from: str = Field(
        default="", max_length=LONGEST, description="characters from which all rhymes come"
    )
    acrostic: str = Field(
        default="",
        max_length=60,
        description="the first characters of the lines, ？ for a free one",
    )
    keywords: tuple[Annotated[str, Field(min_length=1, max_length=20)], ...] = Field(
        default=(), max_length=MOST_KEYWORDS, strict=False, description="words that must occur"
    )
    draft: str = Field(
        default="",
        max_length=LONGEST,
        description="a poem with marks, in which ？ or □ stands for a character to write",
    )
    keep_rules: bool = Field(
        default=False, description="rhyme, tones, and no rhyme character that comes twice"
    )

    @classmethod
    def read(cls, values: Mapping[str, Any] | bytes) -> Self:
        """Check values from outside.

        Args:
            values: name → value, or the text of a JSON object of them.

        Raises:
            NanopoetError: a name is unknown, or a value has another type or is too long.
        """
        try:
            if isinstance(values, bytes):
                return cls.model_validate_json(values)
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise NanopoetError(cls._explain(dict(error.errors(include_url=False)[0]))) from None

    @classmethod
    def _explain(cls, problem: dict[str, Any]) -> str:
        """Put one of pydantic's findings into one line."""
        known = ", ".join(cls.model_fields)
        if problem["type"] == "json_invalid":
            return f"the request is not JSON: {problem['ctx']['error']}"
        if not problem["loc"]:
            return f"the request must be an object of nothing but {known}"
        name = str(problem["loc"][0])
        if problem["type"] == "extra_forbidden":
            return f"{reprlib.repr(name)} is unknown: known are {known}"
        meaning = cls.model_fields[name].description
        reason = problem["msg"][0].lower() + problem["msg"][1:]
        return f"{name} = {reprlib.repr(problem['input'])} is not allowed: {reason} ({meaning})"
