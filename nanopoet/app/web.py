"""The service behind the page that `nanopoet serve` opens.

GET /                   the page
POST /poems             poems for a request, as `nanopoet.app.poem_request` describes
GET /authors?search=    authors whose names contain the text, as a JSON list of name and poems
GET /tunes?search=      tunes likewise
"""

from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import suppress
from functools import partial
from typing import TypeVar

import orjson
import torch
import uvicorn
from anyio import CapacityLimiter, Lock, to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from nanopoet.app.access import MOST_REQUESTS, BoundedStream, Named, listen, read_body, refusal
from nanopoet.app.name_search import NameSearch
from nanopoet.app.page import render_page
from nanopoet.app.poem_request import PoemRequest, poem_events, sentences, tune_of
from nanopoet.app.writer import Writer
from nanopoet.common.errors import NanopoetError

Result = TypeVar("Result")


def make_app(writer: Writer, names: Collection[str]) -> Starlette:
    """Make the page and the service behind it.

    Args:
        writer: writes the poems.
        names: names by which a browser may call it, as for `Named`.
    """
    places, turn, thread = CapacityLimiter(MOST_REQUESTS), Lock(), CapacityLimiter(1)
    page, policy = render_page(writer.catalogue, writer.folder, writer.nats)

    async def show(_request: Request) -> Response:
        return HTMLResponse(page, headers={"Content-Security-Policy": policy})

    async def write(request: Request) -> Response:
        # A browser lets a page elsewhere send this type only if this server allows it, and it
        # does not (https://developer.mozilla.org/docs/Web/HTTP/Guides/CORS).
        if request.headers.get("content-type", "").split(";")[0] != "application/json":
            raise HTTPException(415, "the body must be application/json")
        wanted = PoemRequest.read(await read_body(request))
        return BoundedStream(lines(wanted), places, "application/x-ndjson")

    async def lines(wanted: PoemRequest) -> AsyncGenerator[bytes]:
        wishes, sampling = wanted.wishes(), wanted.sampling_of_one()
        generator = torch.Generator().manual_seed(wanted.seed)
        begin = partial(writer.write, wishes, sampling, generator)
        steps = await in_thread(begin)
        tune = tune_of(wishes, writer.catalogue)
        yield b""  # it is not refused, and waits for its turn
        for number in range(wanted.count):
            async with turn:
                steps = await in_thread(begin) if number else steps
                events = poem_events(steps, tune, first=number == 0)
                # Step by step, so that writing stops as soon as the reader has gone.
                while event := await in_thread(partial(next, events, None)):
                    yield orjson.dumps(event) + b"\n"
                    if event["event"] == "error":
                        return

    async def in_thread(work: Callable[[], Result]) -> Result:
        return await to_thread.run_sync(work, limiter=thread)

    async def refuse(_request: Request, error: Exception) -> Response:
        return JSONResponse(sentences(error), 400)

    async def explain(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return refusal(error.status_code, error.detail, error.headers)

    return Starlette(
        routes=[
            Route("/", show),
            Route("/poems", write, methods=["POST"]),
            *_search_routes(writer),
        ],
        middleware=[Middleware(Named, names)],
        exception_handlers={
            NanopoetError: refuse,
            HTTPException: explain,
            ClientDisconnect: refuse,  # nobody reads it
        },
    )


def _search_routes(writer: Writer) -> list[Route]:
    """Return the searches among the authors and the tunes that the model knows."""

    def route(path: str, names: dict[str, int]) -> Route:
        search = NameSearch(names)

        async def find(request: Request) -> Response:
            return JSONResponse(search.find(request.query_params.get("search", "")))

        return Route(path, find)

    if writer.catalogue is None:
        return [route("/authors", {}), route("/tunes", {})]
    tunes = {name: tune.poems for name, tune in writer.catalogue.tunes.items() if tune.shapes}
    return [route("/authors", writer.catalogue.authors), route("/tunes", tunes)]


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
