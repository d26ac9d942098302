"""Parameters of writing, the same for the command, the page and the served model."""

import reprlib
import unicodedata
from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nanopoet.common.errors import NanopoetError

MOST_POEMS = 256
"""Poems of one request: 256 at once take some seconds on two cores and some hundred MB."""
LONGEST_PROMPT = 1000
"""Characters of a prompt, at most."""
PROMPT_ALLOWED = f"a text of at most {LONGEST_PROMPT} characters"

_REASONS = {
    "float_type": "it must be a number",
    "int_type": "it must be a whole number",
    "bool_type": "it must be true or false",
    "string_type": "it must be a text",
    "string_unicode": "it must be a text in UTF-8",
    "string_too_short": "it must not be empty",
    "string_too_long": "it must have at most {max_length} characters",
    "tuple_type": "it must be a list",
    "too_long": "it must have at most {max_length} parts",
}
"""Kind of a finding of pydantic → what to say."""


class Options(BaseModel):
    """Values from outside, each with a default, what it may be, and a description.

    `read` checks them. The constructor raises pydantic's own error.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @classmethod
    def read(cls, values: Mapping[str, Any] | bytes) -> Self:
        """Check values from outside.

        Args:
            values: name → value, or the text of a JSON object of them.

        Raises:
            NanopoetError: a name is unknown, or a value has another type or is out of range.
        """
        try:
            if isinstance(values, bytes):
                return cls.model_validate_json(values)
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise cls._refusal(dict(error.errors(include_url=False)[0])) from None

    @classmethod
    def properties(cls) -> dict[str, Any]:
        """Return the JSON schema of each option.

        >>> Sampling.properties()["count"]["maximum"], Sampling.properties()["count"]["default"]
        (256, 1)
        """
        properties: dict[str, Any] = cls.model_json_schema()["properties"]
        return properties

    @classmethod
    def allowed(cls, name: str) -> str:
        """Say what an option may be.

        >>> Sampling.allowed("seed")
        '0 to 4294967295 (the same seed writes the same poems)'
        """
        schema = cls.properties()[name]
        if "maximum" not in schema:
            return f"{schema['description']}"
        return f"{schema['minimum']:g} to {schema['maximum']:.10g} ({schema['description']})"

    @classmethod
    def _refusal(cls, problem: dict[str, Any]) -> NanopoetError:
        """Return the error for one of pydantic's findings."""
        return NanopoetError(cls._explain(problem))

    @classmethod
    def _explain(cls, problem: dict[str, Any]) -> str:
        """Put one of pydantic's findings into one line."""
        kind, known = problem["type"], ", ".join(cls.model_fields)
        if kind == "json_invalid":
            return f"the request is not JSON: {problem['ctx']['error']}"
        if kind == "value_error":  # of a check of ours, with a message of its own
            return str(problem["ctx"]["error"])
        if not problem["loc"]:
            return f"the request must be an object of nothing but {known}"
        name = str(problem["loc"][0])
        if kind == "extra_forbidden":
            return f"{reprlib.repr(name)} is unknown: known are {known}"
        reason = _REASONS.get(kind, "").format(**problem.get("ctx", {}))
        allowed = cls.allowed(name)
        if "maximum" not in cls.properties()[name]:
            reason = f"{reason} ({allowed})"
        else:
            reason = f"{reason}, {allowed}" if reason else allowed
        return f"{name} = {reprlib.repr(problem['input'])} is not allowed: {reason}"


class Sampling(Options):
    """Options of the sampling of poems."""

    max_new_tokens: int = Field(
        default=100, ge=1, le=1000, description="characters after the prompt, at most"
    )
    temperature: float = Field(
        default=1.0,
        ge=0,
        le=10,
        description="below 1 favours likely characters, 0 takes the likeliest",
    )
    top_k: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description="draw from this many of the likeliest; 0 draws from all",
    )
    top_p: float = Field(
        default=1.0, ge=1e-6, le=1, description="draw from the likeliest that have this probability"
    )
    seed: int = Field(
        default=0, ge=0, le=2**32 - 1, description="the same seed writes the same poems"
    )
    count: int = Field(default=1, ge=1, le=MOST_POEMS, description="poems for each prompt")

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments of `nanopoet.models.generate.generate` and `stream`."""
        return {
            "max_new_tokens": self.max_new_tokens,
            "temperature": self.temperature,
            "top_k": self.top_k or None,
            "top_p": self.top_p,
        }


def check_prompt(prompt: object) -> None:
    """Refuse a prompt that is too long, no text, or would give orders to a terminal.

    Raises:
        NanopoetError: it says what is allowed.
    """
    if not isinstance(prompt, str):
        value = reprlib.repr(prompt)
        raise NanopoetError(f"prompt = {value} is not allowed: {PROMPT_ALLOWED}")
    if len(prompt) > LONGEST_PROMPT:
        raise NanopoetError(
            f"a prompt of {len(prompt)} characters is not allowed: at most {LONGEST_PROMPT} "
            f"characters"
        )
    try:
        prompt.encode()
    except UnicodeEncodeError:
        value = reprlib.repr(prompt)
        raise NanopoetError(f"the prompt {value} is not text: give it as UTF-8") from None
    for character in prompt:
        if unicodedata.category(character) == "Cc" and not character.isspace():
            value = reprlib.repr(prompt)
            raise NanopoetError(
                f"the prompt {value} has the control character {character!r}: leave it out"
            )
