"""A page that writes poems, for whoever sits at this machine.

The page asks for poems with POST /poems, a JSON object of `prompt`, `form` and the knobs of
`Sampling`, and gets JSON lines, each an event:

character   the next character of a poem, with the mark of its tone
candidate   a form is wanted, and the poem of this number is being tried
poem        a poem is done: its form, whether it rhymes and keeps the tones, its lines with marks
none        a form was wanted, and no candidate had it
"""

import errno
import hashlib
import ipaddress
import re
import socket
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any, Self

import orjson
import torch
import uvicorn
from anyio import CapacityLimiter, Lock, to_thread
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from nanopoet.app.writer import Writer
from nanopoet.common.errors import NanopoetError
from nanopoet.models.sampling import KNOBS, LONGEST_PROMPT, Sampling, check_prompt
from nanopoet.prosody.annotate import mark, mark_tone
from nanopoet.prosody.forms import FORMS, can_become, style_of
from nanopoet.prosody.rules import Verse

MOST_REQUESTS = 4
"""Under way at once: one poem is being written, the others wait for their turn."""
MOST_CANDIDATES = 200
"""Poems begun for one in a wanted form, most of them given up within a line or two."""
_LARGEST_BODY = 16 << 10
"""Bytes; a prompt of 1000 characters has 12,000 where JSON escapes them all."""
PAGE_KNOBS = KNOBS | {"count": KNOBS["count"]._replace(most=10)}
"""What the page allows: as everywhere, but fewer poems at a time."""

Event = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a request asks for.

    Attributes:
        prompt: how each poem begins.
        form: one of `FORMS`, or None if any will do.
        sampling: how to write.
    """

    prompt: str
    form: str | None
    sampling: Sampling

    @classmethod
    def from_json(cls, raw: bytes) -> Self:
        """Read the body of a request.

        Raises:
            NanopoetError: it says what is allowed.
        """
        try:
            body = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise NanopoetError(f"the body is not JSON: {error.msg}") from None
        known = ("prompt", "form", *KNOBS)
        if not isinstance(body, dict) or not set(body) <= set(known):
            raise NanopoetError(f"the body must be an object of nothing but {', '.join(known)}")
        prompt, form = body.pop("prompt", ""), body.pop("form", None)
        if not isinstance(prompt, str):
            raise NanopoetError("the prompt must be a text")
        check_prompt(prompt)
        if form is not None and form not in list(FORMS):  # it may be anything that JSON has
            raise NanopoetError(f"form = {form} is not allowed: null, {', '.join(FORMS)}")
        if form is not None and not can_become(prompt, form):
            raise NanopoetError(f"no {form} begins with {prompt}: its lines have other lengths")
        sampling = Sampling(**body)
        PAGE_KNOBS["count"].check("count", sampling.count)
        return cls(prompt=prompt, form=form, sampling=sampling)


def make_app(writer: Writer, hosts: list[str]) -> Starlette:
    """The page and what it asks.

    Args:
        writer: writes the poems.
        hosts: names under which it may be called, against pages elsewhere that have their own
            name lead here (DNS rebinding); `*` for all.
    """
    turn, thread = Lock(), CapacityLimiter(1)
    page, policy = _render_page()

    async def show(_request: Request) -> Response:
        return HTMLResponse(page, headers={"Content-Security-Policy": policy})

    async def write(request: Request) -> Response:
        # A page elsewhere cannot send this type without asking first, and nobody grants it.
        if request.headers.get("content-type", "").split(";")[0] != "application/json":
            raise HTTPException(415, "the body must be application/json")
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > _LARGEST_BODY:
                raise HTTPException(413, f"the body must have at most {_LARGEST_BODY} bytes")
        wish = Wish.from_json(body)

        async def lines() -> AsyncIterator[bytes]:
            generator = torch.Generator().manual_seed(wish.sampling.seed)
            for _ in range(wish.sampling.count):
                async with turn:
                    events = write_events(writer, wish, generator)
                    # Step by step, so that it stops where it is when the reader has gone.
                    while event := await to_thread.run_sync(next, events, None, limiter=thread):
                        yield orjson.dumps(event) + b"\n"

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    async def refuse(_request: Request, error: Exception) -> Response:
        return _refusal(400, str(error))

    async def explain(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _refusal(error.status_code, error.detail, error.headers)

    return Starlette(
        routes=[
            Route("/", show),
            Route(
                "/poems",
                write,
                methods=["POST"],
                middleware=[Middleware(_Bounded)],
            ),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)],
        exception_handlers={NanopoetError: refuse, HTTPException: explain},
    )


def write_events(writer: Writer, wish: Wish, generator: torch.Generator) -> Iterator[Event]:
    """Write one poem and yield what happens on the way, an event for each character at least."""
    if wish.form is None:
        text = ""
        for character in chain(wish.prompt, writer.stream(wish.prompt, wish.sampling, generator)):
            text += character
            yield {"event": "character", **mark_tone(character)}
        yield _poem_event(text)
        return
    for number in range(1, MOST_CANDIDATES + 1):
        text = wish.prompt
        for character in writer.stream(wish.prompt, wish.sampling, generator):
            yield {"event": "candidate", "number": number, "most": MOST_CANDIDATES}
            text += character
            if not can_become(text, wish.form):
                break
        if Verse.of(text).form == style_of(wish.form):
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


class _Bounded:
    """Lets so many requests in at once and turns others away."""

    def __init__(self, app: ASGIApp) -> None:
        self._app, self._free = app, MOST_REQUESTS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._free:
            text = f"{MOST_REQUESTS} others are waiting for poems; try again in a minute"
            await _refusal(503, text, {"Retry-After": "60"})(scope, receive, send)
            return
        self._free -= 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._free += 1


def _refusal(status: int, text: str, headers: Any = None) -> Response:
    return JSONResponse({"error": text}, status, headers)


def _render_page() -> tuple[str, str]:
    """The page, and a policy that lets it run its own script and style and nothing else."""
    environment = Environment(
        loader=PackageLoader("nanopoet", "templates"), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template("web.html.jinja").render(
        forms={form: style_of(form) for form in FORMS},
        knobs=PAGE_KNOBS,
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


def serve(writer: Writer, host: str, port: int) -> None:
    """Serve the page until Ctrl-C.

    Args:
        writer: writes the poems.
        host: address to listen on.
        port: 0 takes any that is free.

    Raises:
        NanopoetError: one cannot listen there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            what = f"port {port} is taken: give another with --port, or 0 for any that is free"
        else:
            what = f"cannot listen there ({error.strerror}): give another --host or --port"
        raise NanopoetError(f"{host}: {what}") from None
    hosts = ["localhost", "127.0.0.1", "::1", "[::1]"]
    if not _is_loopback(host):
        print(f"note: whoever reaches {host} can use the page", file=sys.stderr)
        hosts = ["*"]
    name = f"[{host}]" if ":" in host else host
    with listening:
        port = listening.getsockname()[1]
        print(f"open http://{name}:{port}/ and stop with Ctrl-C", flush=True)
        config = uvicorn.Config(
            make_app(writer, hosts), log_level="warning", timeout_graceful_shutdown=1
        )
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listening])


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
