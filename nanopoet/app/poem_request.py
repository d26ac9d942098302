"""Requests of `POST /poems`, and the events with which they are answered.

The request is a JSON object, `PoemRequest`. The answer is JSON lines. Each line is an event:

note    a text of the request that was understood in another script
draft   the text of a poem as it grows; a later draft replaces it, and may go back behind it
poem    a whole poem: its form or tune, whether it rhymes and keeps the tones, its lines with marks
error   no poem was found; nothing follows. `error_zh` says it in Chinese
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from pydantic import Field, model_validator

from nanopoet.common.errors import NanopoetError
from nanopoet.prosody.annotate import mark
from nanopoet.prosody.forms import FORMS, style_of
from nanopoet.prosody.rules import Verse
from nanopoet.writing.catalogue import Catalogue
from nanopoet.writing.names import find_form, find_tune
from nanopoet.writing.refused import BilingualError
from nanopoet.writing.request import Request, SampledRequest
from nanopoet.writing.write import Progress

Event = dict[str, Any]


class PoemRequest(SampledRequest):
    """A request for poems: what they shall be, and how to sample them."""

    count: int = Field(default=1, ge=1, le=10, description="poems to write")

    @model_validator(mode="before")
    @classmethod
    def _rename(cls, values: Any) -> Any:
        """Understand requests of earlier versions: `prompt`, and `null` as no form."""
        if not isinstance(values, Mapping):
            return values
        named = dict(values)
        if "prompt" in named:
            if "opening" in named:
                raise NanopoetError("prompt is an older name of opening: give one of them")
            named["opening"] = named.pop("prompt")
        if named.get("form", "") is None:
            del named["form"]
        return named


def tune_of(request: Request, catalogue: Catalogue | None) -> str | None:
    """Return the tune that is asked for, as the corpus spells it; None if none is."""
    if not request.form or find_form(request.form):
        return None
    return find_tune(request.form, catalogue)


async def poem_events(
    steps: AsyncIterator[Progress], tune: str | None, *, first: bool
) -> AsyncIterator[Event]:
    """Yield the events of the writing of one poem.

    Args:
        steps: the poem as it grows.
        tune: the name of its tune.
        first: whether it is the first poem of the request, which has the notes.
    """
    draft = ""
    try:
        async for step in steps:
            if first:
                for note in step.notes:
                    yield {"event": "note", **note._asdict(), "text": str(note)}
            first = False
            [text] = step.poems
            if step.finished:
                yield _poem_event(text, tune)
            elif text != draft:
                yield {"event": "draft", "text": text}
            draft = text
    except NanopoetError as error:
        yield {"event": "error", **sentences(error)}


def sentences(error: Exception) -> dict[str, str]:
    """Return what an answer says of an error: in English, and in Chinese if the error has it."""
    if isinstance(error, BilingualError):
        return {"error": error.english, "error_zh": error.chinese}
    return {"error": str(error)}


def _poem_event(text: str, tune: str | None) -> Event:
    verse = Verse.of(text)
    short = {style_of(form): form for form in FORMS}
    return {
        "event": "poem",
        "text": text,
        "form": short.get(verse.form or ""),
        "tune": tune,
        "rhyme": verse.rhyme,
        "regulated": verse.regulated,
        "lines": mark(text),
    }
