"""The page in a thread, with poems that are written in advance or by a tiny model."""

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import uvicorn
from playwright.sync_api import Page

from nanopoet.app.access import listen
from nanopoet.app.web import make_app
from nanopoet.app.writer import Writer
from nanopoet.corpus.poems import Poem
from nanopoet.models.sampling import Sampling
from nanopoet.tokens.tokenizer import CharTokenizer
from nanopoet.writing.catalogue import Catalogue
from nanopoet.writing.request import Request
from nanopoet.writing.write import Progress
from tests.support import browser
from tests.support.models import tiny_model
from tests.support.writing import COMMON, peaked_model

POEM = "白日依山盡，黃河入海流。欲窮千里目，更上一層樓。"
LONG = "七言一句有七字，何況還須押韻時。莫道詩成人不寐，燈前猶有未歸期。"
"""Poems of lines of 5 and of 7 characters."""
TRAINING_POEMS = [
    Poem(content=content, title="山", author=author, style=style)
    for author in ("蘇軾", "蘇軾", "李白", "蘇轍")
    for style, content in (("小令", "山光，水月。"), ("浣溪沙", "山光水月夜天風，東空中。"))
]
"""Poems whose authors and tunes the tiny finetuned model knows."""


class Scripted(Writer):
    """A writer of given poems, one after the other, for any request and any sampling.

    Attributes:
        seconds: that each character takes.
    """

    def __init__(self, *poems: str) -> None:
        super().__init__(*tiny_model())
        self.poems = list(poems)
        self.begun = self.written = 0
        self.seconds = 0.0
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def write(
        self,
        request: Request,
        sampling: Sampling,  # noqa: ARG002
        generator: torch.Generator,  # noqa: ARG002
    ) -> Iterator[Progress]:
        return self._steps(len(request.opening))

    def _steps(self, given: int) -> Iterator[Progress]:
        poem = self.poems[self.begun % len(self.poems)]
        self.begun += 1
        for end in range(given, len(poem) + 1):
            yield Progress((poem[:end],), finished=False)
            assert self.may_go_on.wait(30)
            time.sleep(self.seconds)
            self.written += 1
        yield Progress((poem,), finished=True)


def finetuned_writer() -> Writer:
    """Make a writer with a random model that takes authors, tunes and titles."""
    tokenizer = CharTokenizer.from_characters(COMMON + "，。？蘇軾李轍小令浣溪沙五七言絕绝句靜夜思")
    model = peaked_model(tokenizer, block_size=64)
    model.takes_fields = True
    return Writer(model, tokenizer, Catalogue.of(TRAINING_POEMS))


def pretrained_writer() -> Writer:
    """Make a writer with a random model that takes no fields."""
    tokenizer = CharTokenizer.from_characters(COMMON + "，。")
    return Writer(peaked_model(tokenizer, block_size=64), tokenizer)


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


@contextmanager
def opened(writer: Writer, link: str = "") -> Iterator[Page]:
    """Open the page in a browser, which must neither complain nor go elsewhere."""
    with served(writer) as address, browser.page() as (page, elsewhere):
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address + link)
        yield page
        assert elsewhere == []
        assert complaints == []


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
