"""A request: what a poem shall be."""

from typing import Annotated

from pydantic import Field

from nanopoet.models.sampling import Options

MOST_KEYWORDS = 6
"""Largest number of keywords. Each keyword doubles the number of states."""
LONGEST = 300
"""Largest number of characters of a text in a request; the longest tune has 240."""


class Request(Options):
    """The properties that a poem shall have; an empty field asks for nothing."""

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
