"""The page that `nanopoet serve` opens, and what a program may ask of it.

POST /poems takes a JSON object, `PoemRequest`, and answers with JSON lines. Each line is an event:

character   the next character of a poem, with the mark of its tone, and whether it ends a line
candidate   the number of the poem that is being tried, where a form is wanted
poem        a whole poem: its form, whether it rhymes and keeps the tones, its lines with marks
none        no candidate had the wanted form
"""

import hashlib
import re
import reprlib
from base64 import b64encode
from collections.abc import AsyncGenerator, Collection, Iterator
from contextlib import suppress
from itertools import chain
from typing import Any, Self

import orjson
import torch
import uvicorn
from anyio import CapacityLimiter, Lock, to_thread
from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import Field, model_validator
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from nanopoet.app.access import MOST_REQUESTS, BoundedStream, Named, listen, read_body, refusal
from nanopoet.app.writer import Writer
from nanopoet.common.errors import NanopoetError
from nanopoet.common.text import LINE_ENDS
from nanopoet.models.sampling import LONGEST_PROMPT, PROMPT_ALLOWED, Sampling, check_prompt
from nanopoet.prosody.annotate import mark, mark_tone
from nanopoet.prosody.forms import FORMS, can_become, style_of
from nanopoet.prosody.rules import Verse
from nanopoet.tokens.prompts import in_known_script

MOST_CANDIDATES = 200
"""Poems begun for one in a wanted form. Most of them are given up within a line or two."""

Event = dict[str, Any]


class PoemRequest(Sampling):
    """A request for poems: how they begin, in which form, and how to sample them."""

    prompt: str = Field("", description=PROMPT_ALLOWED)
    form: str | None = Field(None, description=f"null, {', '.join(FORMS)}")
    count: int = Field(1, ge=1, le=10, description="poems to write")

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_prompt(self.prompt)
        if self.form is not None and self.form not in FORMS:
            raise NanopoetError(
                f"form = {reprlib.repr(self.form)} is not allowed: {self.allowed('form')}"
            )
        if self.form is not None and not can_become(self.prompt, self.form):
            raise NanopoetError(
                f"no {self.form} begins with {reprlib.repr(self.prompt)}: its lines have other "
                "lengths"
            )
        return self


def make_app(writer: Writer, names: Collection[str]) -> Starlette:
    """Make the page and the service behind it.

    Args:
        writer: writes the poems.
        names: names by which a browser may call it, as for `Named`.
    """
    places, turn, thread = CapacityLimiter(MOST_REQUESTS), Lock(), CapacityLimiter(1)
    page, policy = _render_page()

    async def show(_request: Request) -> Response:
        return HTMLResponse(page, headers={"Content-Security-Policy": policy})

    async def write(request: Request) -> Response:
        # A browser lets a page elsewhere send this type only if this server allows it, and it
        # does not (https://developer.mozilla.org/docs/Web/HTTP/Guides/CORS).
        if request.headers.get("content-type", "").split(";")[0] != "application/json":
            raise HTTPException(415, "the body must be application/json")
        wanted = PoemRequest.read(await read_body(request))

        async def lines() -> AsyncGenerator[bytes]:
            generator = torch.Generator().manual_seed(wanted.seed)
            for _ in range(wanted.count):
                async with turn:
                    events = write_events(writer, wanted, generator)
                    # Step by step, so that writing stops as soon as the reader has gone.
                    while event := await to_thread.run_sync(next, events, None, limiter=thread):
                        yield orjson.dumps(event) + b"\n"

        return BoundedStream(lines(), places, "application/x-ndjson")

    async def refuse(_request: Request, error: Exception) -> Response:
        return refusal(400, str(error))

    async def explain(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return refusal(error.status_code, error.detail, error.headers)

    return Starlette(
        routes=[Route("/", show), Route("/poems", write, methods=["POST"])],
        middleware=[Middleware(Named, names)],
        exception_handlers={
            NanopoetError: refuse,
            HTTPException: explain,
            ClientDisconnect: refuse,  # nobody reads it
        },
    )


def write_events(
    writer: Writer, wanted: PoemRequest, generator: torch.Generator
) -> Iterator[Event]:
    """Write one poem, and yield at least one event for each character."""
    prompt = in_known_script(wanted.prompt, writer.tokenizer)
    if wanted.form is not None:
        yield from _try_candidates(writer, prompt, wanted, wanted.form, generator)
        return
    text = ""
    for character in chain(prompt, writer.stream(prompt, wanted, generator)):
        text += character
        yield {"event": "character", "ends": character in LINE_ENDS, **mark_tone(character)}
    yield _poem_event(text)


def _try_candidates(
    writer: Writer, prompt: str, sampling: Sampling, form: str, generator: torch.Generator
) -> Iterator[Event]:
    """Begin poems until one has the form; give up each poem that can no longer have it."""
    for number in range(1, MOST_CANDIDATES + 1):
        text = prompt
        for character in writer.stream(prompt, sampling, generator):
            yield {"event": "candidate", "number": number, "most": MOST_CANDIDATES}
            text += character
            if not can_become(text, form):
                break
        if Verse.of(text).form == style_of(form):
            yield _poem_event(text)
            return
    yield {"event": "none", "candidates": MOST_CANDIDATES}


def _poem_event(text: str) -> Event:
    verse = Verse.of(text)
    short = {style_of(form): form for form in FORMS}
    return {
        "event": "poem",
        "text": text,
        "form": short.get(verse.form or ""),
        "rhyme": verse.rhyme,
        "regulated": verse.regulated,
        "lines": mark(text),
    }


def _render_page() -> tuple[str, str]:
    """Render the page, and a policy that allows its own script and style and nothing else."""
    environment = Environment(
        loader=PackageLoader("nanopoet", "templates"), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template("web.html.jinja").render(
        forms={form: style_of(form) for form in FORMS},
        parameters={
            name: schema | {"allowed": PoemRequest.allowed(name)}
            for name, schema in PoemRequest.properties().items()
        },
        longest_prompt=LONGEST_PROMPT,
    )
    own = {}
    for tag in ("script", "style"):
        [content] = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.S)
        digest = b64encode(hashlib.sha256(content.encode()).digest()).decode()
        own[tag] = f"'sha256-{digest}'"
    policy = (
        f"default-src 'none'; script-src {own['script']}; style-src {own['style']}; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return page, policy


def serve(writer: Writer, host: str, port: int, names: Collection[str]) -> None:
    """Serve the page until Ctrl-C.

    Args:
        writer: writes the poems.
        host: address to listen on.
        port: 0 takes any that is free.
        names: further names by which a browser may call it.

    Raises:
        NanopoetError: this machine cannot listen there.
    """
    listening, url, names = listen(host, port, names)
    with listening:
        print(f"open {url} and stop with Ctrl-C", flush=True)
        config = uvicorn.Config(
            make_app(writer, names), log_level="warning", timeout_graceful_shutdown=1
        )
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listening])
