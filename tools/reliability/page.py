"""Many clients at the page of `nanopoet serve`: poems a second, and five hard minutes."""

import asyncio
import json
import random
import statistics
import subprocess
import sys
import time
import urllib.parse
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import psutil
from tqdm import tqdm

from tools.reliability.load import memory_of, peaks

KINDS: Mapping[str, dict[str, Any]] = {
    "any form": {},
    "a form": {"form": "五绝"},
    "a form and its rules": {"form": "五绝", "keep_rules": True},
}
"""Kind of requests → request."""
_PATIENCE = 120.0
"""Seconds after which an answer counts as lost."""


@contextmanager
def serve(model: str) -> Iterator[tuple[str, psutil.Process]]:
    """Run `nanopoet serve`, and yield its address and its process."""
    command = [sys.executable, "-m", "nanopoet", "serve", "--port", "0", "--model", model]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as process:
        try:
            assert process.stdout
            yield process.stdout.readline().split()[1], psutil.Process(process.pid)
        finally:
            process.kill()


async def answer_to(address: str, wishes: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any]]:
    """Ask for poems, and yield the events of the answer as they come.

    Raises:
        ConnectionError: the server refused the request, or ended the answer before its end.
    """
    where = urllib.parse.urlsplit(address)
    reader, writer = await asyncio.open_connection(where.hostname, where.port, limit=1 << 16)
    try:
        body = json.dumps(wishes).encode()
        # With HTTP/1.0 the answer has no chunks and ends with the connection.
        writer.write(
            b"POST /poems HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head.splitlines()[0]:
            raise ConnectionError(head.splitlines()[0].decode())
        poems = 0
        async for line in reader:
            event = json.loads(line)
            poems += event["event"] == "poem"
            yield event
        if poems != wishes.get("count", 1):
            raise ConnectionError(f"{poems} poems for {wishes}")
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


# Poems a second


async def poems_a_second(
    address: str, wishes: Mapping[str, Any], clients: int, seconds: float
) -> float:
    """Let clients ask for poems, each again as soon as it has one; return their poems a second."""
    written = 0
    end = time.monotonic() + seconds

    async def ask(number: int) -> None:
        nonlocal written
        rng = random.Random(number)  # noqa: S311
        while time.monotonic() < end:
            async for event in answer_to(address, {**wishes, "seed": rng.getrandbits(32)}):
                written += event["event"] == "poem" and time.monotonic() < end

    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(ask(number))
    return max(1, written) / seconds


def throughput(
    address: str, clients: int, rounds: int, seconds: float
) -> dict[str, dict[str, float]]:
    """Compare the poems a second of one client and of many, for each kind of request.

    One client and many take turns, so that whatever else the machine does slows both. Where one
    client gets no poem in time, it counts as one poem.

    Returns:
        kind → medians of the rounds: `one`, `many` and their `ratio`.
    """
    measured: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    for _ in tqdm(range(rounds), unit="round", disable=None, desc="throughput"):
        for kind, wishes in KINDS.items():
            one, many = (
                asyncio.run(poems_a_second(address, wishes, number, seconds))
                for number in (1, clients)
            )
            measured[kind].append((one, many))
    return {
        kind: {
            "one": statistics.median(one for one, _ in pairs),
            "many": statistics.median(many for _, many in pairs),
            "ratio": statistics.median(many / one for one, many in pairs),
        }
        for kind, pairs in measured.items()
    }


# What a server has to survive


@dataclass
class Survived:
    """Answers of a server and its memory.

    Attributes:
        counts: behaviour of a client → its answers.
        failures: errors instead of answers.
        memory: resident bytes of the server, measured again and again.
    """

    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """Summarise it."""
        return {
            "answers": dict(self.counts),
            "failures": self.failures,
            **peaks(self.memory, "tenth", 10),
        }


def survive(address: str, process: psutil.Process, clients: int, seconds: float) -> Survived:
    """Let clients ask for all kinds of poems, some of them slow and some that go away.

    Of four clients two read as fast as they can, one waits before each event, and one leaves in the
    middle of a poem.
    """
    return asyncio.run(_survive(address, process, clients, seconds))


async def _survive(address: str, process: psutil.Process, clients: int, seconds: float) -> Survived:
    survived = Survived()
    end = time.monotonic() + seconds

    async def ask(number: int) -> None:
        rng = random.Random(number)  # noqa: S311
        behaviour = ("patient", "patient", "slow", "leaving")[number % 4]
        while time.monotonic() < end:
            wishes = rng.choice(list(KINDS.values()))
            wishes = {**wishes, "seed": rng.getrandbits(32), "count": rng.randint(1, 3)}
            try:
                async with asyncio.timeout(_PATIENCE):
                    await _read(address, wishes, behaviour, rng)
            except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError) as error:
                survived.failures.append(f"{behaviour}: {error!r}")
            else:
                survived.counts[behaviour] += 1

    async def watch() -> None:
        while time.monotonic() < end:
            survived.memory.append(memory_of(process))
            await asyncio.sleep(min(1.0, seconds / 20))

    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(ask(number))
        group.create_task(watch())
    return survived


async def _read(
    address: str, wishes: Mapping[str, Any], behaviour: str, rng: random.Random
) -> None:
    events = 0
    enough = rng.randint(1, 5)
    async with aclosing(answer_to(address, wishes)) as answer:
        async for _ in answer:
            events += 1
            if behaviour == "slow":
                await asyncio.sleep(rng.random())
            if behaviour == "leaving" and events >= enough:
                return
