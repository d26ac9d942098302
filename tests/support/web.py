"""The page in a thread, with poems that are written in advance."""

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import uvicorn

from nanopoet.app.access import listen
from nanopoet.app.web import make_app
from nanopoet.app.writer import Writer
from nanopoet.models.sampling import Sampling
from nanopoet.tokens.tokenizer import CharTokenizer
from tests.support import browser
from tests.support.models import tiny_model

POEM = "白日依山盡，黃河入海流。欲窮千里目，更上一層樓。"
LONG = "七言一句有七字，何況還須押韻時。莫道詩成人不寐，燈前猶有未歸期。"
"""Poems of lines of 5 and of 7 characters."""


class Scripted(Writer):
    """A writer of given poems, one after the other, for any prompt and any sampling."""

    def __init__(self, *poems: str) -> None:
        super().__init__(*tiny_model())
        self.tokenizer = CharTokenizer.from_characters("".join(poems))
        self.poems = list(poems)
        self.begun = self.written = 0
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def stream(
        self,
        prompt: str,
        sampling: Sampling,  # noqa: ARG002
        generator: torch.Generator,  # noqa: ARG002
    ) -> Iterator[str]:
        poem = self.poems[self.begun % len(self.poems)]
        self.begun += 1
        for character in poem.removeprefix(prompt):
            assert self.may_go_on.wait(30)
            self.written += 1
            yield character


@contextmanager
def served(writer: Writer, host: str = "127.0.0.1", *names: str) -> Iterator[str]:
    """Serve the page in a thread, and yield its address."""
    listening, address, known = listen(host, 0, names)
    with listening:
        config = uvicorn.Config(make_app(writer, known), log_level="warning")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            browser.wait_for(address)
            yield address
        finally:
            server.should_exit = True
            thread.join()


def ask(address: str, body: Any, **headers: str) -> tuple[int, list[dict[str, Any]]]:
    """Post a request for poems; return the status and the lines of the answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(  # noqa: S310
        f"{address}poems", data, {"Content-Type": "application/json"} | headers
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return answer.status, [json.loads(line) for line in answer]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, [json.loads(error.read())]
