"""Access to the page: its address and names, and limits of a request in number, size and time."""

import errno
import ipaddress
import socket
import sys
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from typing import Any
from urllib.parse import urlsplit

from anyio import CapacityLimiter, WouldBlock, fail_after
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nanopoet.common.errors import NanopoetError

MOST_REQUESTS = 64
"""Answers at once: some poems are being written, the others wait for their turn."""
PATIENCE = 10.0
"""Seconds within which a request must arrive, and a reader must take what is there for it."""
_LARGEST_BODY = 16 << 10
"""Largest number of bytes of a request. In JSON an escaped character takes up to 12."""
_CLOSE = {"Connection": "close"}
"""Header of an early answer. It lets the server drop the rest of the request."""
_OPEN_AT = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - a choice of the user
"""Address of all interfaces → address by which this machine reaches itself."""


def listen(
    host: str, port: int, names: Collection[str]
) -> tuple[socket.socket, str, Collection[str]]:
    """Listen at an address.

    Args:
        host: address or name of this machine.
        port: 0 takes any that is free.
        names: further names by which a browser may call the page.

    Returns:
        the socket, the URL to open, and the host names that `Named` allows: `*` if other machines
        can reach the address.

    Raises:
        NanopoetError: this machine cannot listen there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        host.encode("idna")
        listening = socket.create_server((host, port), family=family)
    except (OSError, UnicodeError) as error:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            problem = f"port {port} is taken: give another with --port, or 0 for any that is free"
        else:
            reason = str(getattr(error, "strerror", "no name of a machine")).partition(" (")[0]
            problem = f"cannot listen there ({reason}): give another --host or --port"
        raise NanopoetError(f"{host}: {problem}") from None
    bound, port = listening.getsockname()[:2]
    names = {"localhost", "127.0.0.1", "::1", host.lower(), bound, *names}
    if not ipaddress.ip_address(bound).is_loopback:
        print(f"note: everyone who reaches {host or bound} can use the page", file=sys.stderr)
        names = {"*"}
    shown = _OPEN_AT.get(bound) or (f"[{host}]" if ":" in host else host)
    return listening, f"http://{shown}:{port}/", names


class Named:
    """An app that answers only if it is called by one of its names.

    This keeps out pages elsewhere whose own name leads here (DNS rebinding).

    Args:
        app: answers.
        names: in lower case, without port and brackets; `*` stands for all.
    """

    def __init__(self, app: ASGIApp, names: Collection[str]) -> None:
        self._app, self._names = app, names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if scope["type"] == "http" and not {"*", _called(scope)} & set(self._names):
            text = (
                f"the page has only the names {', '.join(sorted(self._names))}; start it with "
                "--allow-host NAME for another one"
            )
            app = refusal(400, text)
        await app(scope, receive, send)


def _called(scope: Scope) -> str | None:
    try:
        return urlsplit(f"//{Headers(scope=scope).get('host')}").hostname
    except ValueError:
        return None


async def read_body(request: Request) -> bytes:
    """Read a small body within `PATIENCE`.

    Raises:
        HTTPException: it is too large or too slow.
    """
    body = b""
    try:
        with fail_after(PATIENCE):
            async for part in request.stream():
                body += part
                if len(body) > _LARGEST_BODY:
                    text = f"the body must have at most {_LARGEST_BODY} bytes"
                    raise HTTPException(413, text, _CLOSE)
    except TimeoutError:
        text = f"the body must arrive within {PATIENCE:g} seconds"
        raise HTTPException(408, text, _CLOSE) from None
    return body


class BoundedStream(StreamingResponse):
    """An answer in parts that holds one of a few places, or status 503 if none is free.

    A reader that takes nothing for `PATIENCE` loses the place and the connection.

    Args:
        parts: the parts of the answer. They are always closed at the end. The answer begins with
            the first part. An error before the first part goes to its exception handler.
        places: shared by all answers.
        media_type: of the parts.
    """

    def __init__(
        self, parts: AsyncGenerator[bytes], places: CapacityLimiter, media_type: str
    ) -> None:
        super().__init__(parts, media_type=media_type)
        self._parts, self._places = parts, places

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._places.acquire_on_behalf_of_nowait(self)
        except WouldBlock:
            sentences = {
                "error": f"{MOST_REQUESTS} others are waiting for poems; try again in a minute",
                "error_zh": f"已有 {MOST_REQUESTS} 人在等，请过一分钟再试",
            }
            answer = JSONResponse(sentences, 503, {"Retry-After": "60"})
            await answer(scope, receive, send)
            return
        try:
            await super().__call__(scope, receive, send)
        except TimeoutError:
            return  # uvicorn closes the connection and logs that the answer is not complete
        finally:
            self._places.release_on_behalf_of(self)

    async def stream_response(self, send: Send) -> None:
        async def send_in_time(message: Message) -> None:
            with fail_after(PATIENCE):
                await send(message)

        async with aclosing(self._parts):
            first = await anext(self._parts)
            self.body_iterator = _joined(first, self._parts)
            await super().stream_response(send_in_time)


async def _joined(first: bytes, others: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    yield first
    async for part in others:
        yield part


def refusal(status: int, text: str, headers: Any = None) -> Response:
    """Make an answer with an error of one sentence."""
    return JSONResponse({"error": text}, status, headers)
