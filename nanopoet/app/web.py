"""The service behind the page that `nanopoet serve` opens.

GET /                   the page
POST /poems             poems for a request, as `nanopoet.app.poem_request` describes
GET /authors?search=    authors whose names contain the text, as a JSON list of name and poems
GET /tunes?search=      tunes likewise
"""

import logging
import socket
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial

import orjson
import torch
import uvicorn
from anyio import CapacityLimiter, create_task_group
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from nanopoet.app.access import MOST_REQUESTS, BoundedStream, Named, listen, read_body, refusal
from nanopoet.app.batching import BatchedWriting
from nanopoet.app.name_search import NameSearch
from nanopoet.app.page import render_page
from nanopoet.app.poem_request import PoemRequest, poem_events, sentences, tune_of
from nanopoet.app.writer import Writer
from nanopoet.common.errors import NanopoetError


def make_app(writer: Writer, names: Collection[str]) -> Starlette:
    """Make the page and the service behind it.

    Args:
        writer: writes the poems.
        names: names by which a browser may call it, as for `Named`.
    """
    places, writing = CapacityLimiter(MOST_REQUESTS), BatchedWriting(writer.model)
    page, policy = render_page(writer.catalogue, writer.folder, writer.nats)

    async def show(_request: Request) -> Response:
        return HTMLResponse(page, headers={"Content-Security-Policy": policy})

    async def write(request: Request) -> Response:
        # A browser lets a page elsewhere send this type only if this server allows it, and it
        # does not (https://developer.mozilla.org/docs/Web/HTTP/Guides/CORS).
        kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
        if kind != "application/json":
            raise HTTPException(415, "the body must be application/json")
        wanted = PoemRequest.read(await read_body(request))
        return BoundedStream(lines(wanted), places, "application/x-ndjson")

    async def lines(wanted: PoemRequest) -> AsyncGenerator[bytes]:
        wishes, sampling = wanted.request(), wanted.sampling().model_copy(update={"count": 1})
        generator = torch.Generator().manual_seed(wanted.seed)
        begin = partial(writer.write, wishes, sampling, generator)
        steps = await writing.in_thread(begin)
        tune = tune_of(wishes, writer.catalogue)
        yield b""  # it is not refused, and waits for its turn
        for number in range(wanted.count):
            steps = await writing.in_thread(begin) if number else steps
            async with aclosing(writing.write(steps)) as growing:
                async for event in poem_events(growing, tune, first=number == 0):
                    yield orjson.dumps(event) + b"\n"
                    if event["event"] == "error":
                        return

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncGenerator[None]:
        async with create_task_group() as tasks:
            tasks.start_soon(writing.run)
            yield
            tasks.cancel_scope.cancel()

    async def refuse(_request: Request, error: Exception) -> Response:
        return JSONResponse(sentences(error), 400)

    async def explain(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        text = error.detail
        if error.status_code == 404:
            there = ", ".join(route.path for route in request.app.routes)
            text = f"nothing is at {request.url.path}: there are {there}"
        elif error.status_code == 405:
            allowed = (error.headers or {}).get("Allow", "")
            text = f"{request.url.path} does not take {request.method}: use {allowed}"
        return refusal(error.status_code, text, error.headers)

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
        lifespan=lifespan,
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


class _Server(uvicorn.Server):
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # It cuts off the poems that are being written, and would log each as an error.
        logging.getLogger("uvicorn.error").disabled = True
        await super().shutdown(sockets)


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
            _Server(config).run(sockets=[listening])
