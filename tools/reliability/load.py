"""Many clients, many evaluations, many poems: no error, and memory that does not grow."""

import json
import os
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from tqdm import tqdm

from nanopoet.corpus.poems import Poem, iter_poems, write_poems
from tests.support import browser
from tests.support.project import Project


@contextmanager
def serve(project: Project) -> Iterator[tuple[str, psutil.Process]]:
    """Serve the best model of a project with `mlflow models serve`; give address and process."""
    port = str(browser.free_port())
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--port", port]
    command += ["--model-uri", "models:/nanopoet@best", "--env-manager", "local"]
    environment = project.environment | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{project.folder / 'mlflow.db'}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    with subprocess.Popen(
        command,
        cwd="/",
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            browser.wait_for(f"http://127.0.0.1:{port}/ping")
            yield f"http://127.0.0.1:{port}/invocations", psutil.Process(process.pid)
        finally:
            os.killpg(process.pid, signal.SIGKILL)


@dataclass
class Served:
    """Answers of a server to its clients.

    Attributes:
        seconds: time of each answer.
        failures: errors instead of answers.
        memory: resident bytes of the server's processes, measured again and again.
    """

    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """Summarise the answers."""
        return {
            "answers": len(self.seconds),
            "failures": len(self.failures),
            "median_over_fastest": statistics.median(self.seconds) / min(self.seconds),
            **peaks(self.memory, "quarter", 4),
        }


def serve_load(project: Project, clients: int, seconds: float) -> Served:
    """Let clients ask a served model for poems, each again as soon as it has its answer."""
    served = Served()
    with serve(project) as (address, process):
        end = time.monotonic() + seconds

        def ask(number: int) -> None:
            rng = random.Random(number)  # noqa: S311
            while time.monotonic() < end:
                try:
                    served.seconds.append(_ask(address, rng))
                except Exception as error:  # any error is a failure of the server
                    served.failures.append(repr(error))

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(clients)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            served.memory.append(memory_of(process))
            time.sleep(min(1.0, seconds / 20))
        for thread in threads:
            thread.join()
    return served


def _ask(address: str, rng: random.Random) -> float:
    """Ask for poems, check the answer, and return its time in seconds."""
    count = rng.randint(1, 4)
    wish = {"count": count, "max_new_tokens": rng.randint(1, 64), "seed": rng.randint(0, 10**6)}
    body = {"dataframe_records": [{"prompt": "春"}, {"prompt": ""}], "params": wish}
    request = urllib.request.Request(  # noqa: S310
        address, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    start = time.monotonic()
    with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
        rows = json.load(answer)["predictions"]
    assert [row["prompt"] for row in rows] == ["春"] * count + [""] * count, rows
    return time.monotonic() - start


def peaks(memory: Sequence[int], name: str, parts: int) -> dict[str, int]:
    """Return the peak memory (MB) in the first and the last part; a leak shows in the last.

    >>> peaks([1_000_000, 2_000_000, 2_000_000, 4_000_000], "half", 2)
    {'first_half_mb': 2, 'last_half_mb': 4}
    """
    size = max(1, len(memory) // parts)
    ends = {"first": memory[:size], "last": memory[-size:]}
    return {f"{end}_{name}_mb": round(max(part) / 1e6) for end, part in ends.items()}


def memory_of(process: psutil.Process) -> int:
    """Return the resident bytes of a process and its children."""
    total = 0
    for each in [process, *process.children(recursive=True)]:
        try:
            total += each.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def many_evaluations(project: Project, count: int) -> dict[str, Any]:
    """Train for `count` steps with an evaluation and samples at each."""
    project.set(pretrain={"max_steps": count, "eval_every": 1, "checkpoint_every": 100})
    done = project.run("stages.pretrain")
    assert done.returncode == 0, done.stderr
    [run] = [run for run in project.tracked() if run["params"]["pretrain.eval_every"] == "1"]
    table = next((project.folder / "mlartifacts").rglob(f"{run['id']}/artifacts/samples.json"))
    rows = json.loads(table.read_text(encoding="utf-8"))["data"]
    prompts = run["params"]["pretrain.sample_prompts"]
    assert [step for step, _ in run["val"]] == list(range(count))
    assert run["train"] == list(range(count))
    assert len(rows) == count * len(json.loads(prompts.replace("'", '"')))
    return {"evaluations": len(run["val"]), "rows_of_samples": len(rows), "status": run["status"]}


def enlarge(source: Path, target: Path, times: int, seed: int = 0) -> int:
    """Write a corpus that is `times` as large, and return its number of poems.

    Each copy of a poem takes two characters in three from the poem before. So forms and
    frequencies of characters stay the same, and most poems are not duplicates.
    """
    rng = random.Random(seed)  # noqa: S311
    written = 0

    def poems() -> Iterator[Poem]:
        nonlocal written
        before = "春"
        for copy in range(times):
            for poem in iter_poems(source):
                content = poem["content"]
                letters = [c for c in content if c not in "，。"]
                if copy:
                    content = "".join(
                        c if c in "，。" or rng.random() < 1 / 3 else rng.choice(before)
                        for c in content
                    )
                before = "".join(letters) or before
                yield {**poem, "content": content}
                written += 1

    write_poems(target, tqdm(poems(), unit="poem", disable=None, desc=f"writing {target}"))
    return written


STREAMING = ("load", "split", "tokenize", "encode")


def stages_by_size(project: Project, corpus: str) -> dict[str, dict[str, float]]:
    """Measure seconds and peak memory (MB) of each stage up to `encode` on a corpus."""
    project.set(load={"source": corpus})
    return {stage: _measure(project, stage) for stage in STREAMING}


def _measure(project: Project, stage: str) -> dict[str, float]:
    """Run one stage. The kernel reports the peak memory of a process that is an only child."""
    script = f"""
import json, resource, subprocess, sys, time
start = time.monotonic()
done = subprocess.run([sys.executable, "-m", "stages.{stage}"], stdout=subprocess.DEVNULL)
seconds = time.monotonic() - start
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(json.dumps([done.returncode, seconds, peak]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=project.folder,
        env=project.environment,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    status, seconds, peak = json.loads(done.stdout.splitlines()[-1])
    assert status == 0, done.stderr
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return {"seconds": round(seconds, 1), "peak_mb": round(peak / unit)}
