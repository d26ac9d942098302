"""A real browser for the pages of this project, and a record of its requests to other machines.

`python -m tests.support.browser` takes the pictures in docs/ from the runs of this repository.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Page, sync_playwright

from nanopoet.common.model_folders import best_model
from stages.tracking.pages import compare_page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium here: Debian's package `chromium` has it"
)
_OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)

_PATIENCE = 300_000
"""Milliseconds. A busy machine may take a minute to show MLflow's first page."""


@contextmanager
def page() -> Iterator[tuple[Page, list[str]]]:
    """Open a page; yield it and the list of its requests to other machines."""
    elsewhere: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(_OPTIONS))
        opened = browser.new_page(viewport={"width": 1400, "height": 850})
        opened.set_default_timeout(_PATIENCE)

        def watch(url: str) -> None:
            address = urllib.parse.urlsplit(url)
            if address.scheme not in {"file", "data", "blob"} and address.hostname != "127.0.0.1":
                elsewhere.append(url)

        opened.on("request", lambda request: watch(request.url))
        try:
            yield opened, elsewhere
        finally:
            browser.close()


@contextmanager
def links(folder: Path, environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Start what `make ui` starts, and yield the addresses that it prints, by name."""
    command = [sys.executable, "-m", "tools.mlflow_ui"]
    with subprocess.Popen(
        command,
        cwd=folder,
        env=dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
    ) as process:
        try:
            assert process.stdout is not None
            printed = iter(process.stdout.readline, "stop with Ctrl-C\n")
            found = dict(line.split() for line in printed)
            wait_for(found["runs"].split("/#")[0] + "/health")
            yield found
        finally:
            process.terminate()


@contextmanager
def ui(folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Start what `make ui` starts, and yield the address of the runs."""
    with links(folder, environment) as found:
        yield found["runs"]


def wait_for(url: str, seconds: float = 300) -> None:
    """Wait until a server answers."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"{url} does not answer")


def answers(host: str, port: int) -> bool:
    """Tell whether a server accepts connections there."""
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return False
    return True


def other_addresses() -> list[str]:
    """Return the IPv4 addresses by which other machines reach this one."""
    known = [each for addresses in psutil.net_if_addrs().values() for each in addresses]
    ips = [each.address for each in known if each.family == socket.AF_INET]
    return [ip for ip in ips if not ip.startswith("127.")]


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def shows_training_view(opened: Page) -> bool:
    """Tell whether MLflow shows the menu of its view for model training, and not that for GenAI."""
    menu = opened.get_by_role("navigation").first
    menu.get_by_text(re.compile("^(Model registry|AI Gateway)$")).first.wait_for()
    return menu.get_by_text("Model registry").is_visible()


def compare_address(address: str, run_ids: list[str]) -> str:
    """Return the address at which the UI compares runs."""
    server, experiment = address.split("/#")[0], address.split("/experiments/")[1].split("/")[0]
    return compare_page(server, experiment, run_ids)


def take_pictures(folder: Path) -> None:
    """Take pictures of the two newest finished runs, as `make ui` shows them."""
    import mlflow

    from stages.tracking.uploader import open_store

    _, experiment = open_store()
    client = mlflow.MlflowClient()
    runs = client.search_runs([experiment], "attributes.status = 'FINISHED'")[:2]
    with ui(Path.cwd(), os.environ) as address, page() as (opened, _):
        for name, where, sign in (
            ("charts", f"{address}&compareRunsMode=CHART", "Search metric charts"),
            ("poems", f"{address}&compareRunsMode=ARTIFACT", "Group by:"),
            ("compare", compare_address(address, [run.info.run_id for run in runs]), "Parameters"),
        ):
            opened.goto(where)
            opened.get_by_text(sign).or_(opened.get_by_placeholder(sign)).first.wait_for()
            close = opened.get_by_role("button", name="Close").first
            if close.is_visible():  # a chat panel beside the runs
                close.click()
            if name == "charts":
                opened.get_by_placeholder(sign).fill("loss")
            if name == "poems":
                histories = (client.get_metric_history(run.info.run_id, "loss/val") for run in runs)
                last = max(set.intersection(*({each.step for each in h} for h in histories)))
                opened.get_by_placeholder("Filter by step and prompt").fill(f"{last:06d}")
            if name == "compare":
                opened.get_by_text("Show diff only").first.click()
            opened.wait_for_timeout(3000)
            opened.screenshot(path=folder / f"ui-{name}.png")


def take_report_pictures(report: Path, folder: Path) -> None:
    """Take pictures of the parts of the report that README shows."""
    with page() as (opened, _):
        opened.set_viewport_size({"width": 1100, "height": 850})
        opened.goto(report.absolute().as_uri())
        for name, first in (("predicts", "How well it predicts"), ("poems", "Poems")):
            heading = opened.get_by_role("heading", name=first, exact=True)
            heading.evaluate("element => element.scrollIntoView()")
            opened.screenshot(path=folder / f"report-{name}.png")


def take_page_picture(model: Path, folder: Path) -> None:
    """Take a picture of the page that `nanopoet serve` opens, with a request and its poem."""
    port = free_port()
    address = f"http://127.0.0.1:{port}/"
    command = [sys.executable, "-m", "nanopoet.app.cli", "serve", "--model", str(model)]
    with subprocess.Popen([*command, "--port", str(port)]) as server, page() as (opened, _):
        try:
            wait_for(address)
            opened.set_viewport_size({"width": 1280, "height": 1000})
            opened.goto(address)
            opened.get_by_label("七绝").check()
            opened.get_by_label("In the style of").fill("李白")
            opened.get_by_label("Title").fill("月夜")
            opened.get_by_label("Keep the rules").check()
            opened.get_by_text("Sampling").click()
            opened.get_by_role("spinbutton", name="seed").fill("10")
            opened.get_by_text("Sampling").click()
            opened.get_by_role("button", name="Write", exact=True).click()
            opened.get_by_text("Done: 1").wait_for(timeout=300_000)
            opened.evaluate("scrollTo(0, 0)")
            opened.screenshot(path=folder / "page.png")
        finally:
            server.kill()


if __name__ == "__main__":
    take_page_picture(Path(best_model()), Path("docs"))
    take_pictures(Path("docs"))
    take_report_pictures(Path("report/index.html"), Path("docs"))
