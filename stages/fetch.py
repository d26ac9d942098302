"""Stage `fetch`: npm registry → raw/chinese-poetry.tgz, with a checked digest."""

from pathlib import Path

from nanopoet.common.files import write_json
from nanopoet.corpus.download import fetch_archive
from nanopoet.params import load_params
from stages.runner import run

ARCHIVE = Path("raw/chinese-poetry.tgz")


def main() -> None:
    """Download the corpus archive unless it is there."""
    params = load_params()
    wanted = params.fetch
    new = fetch_archive(wanted.package, wanted.version, wanted.integrity, ARCHIVE)
    size = ARCHIVE.stat().st_size
    write_json("metrics/fetch.json", {"bytes": size})
    print(
        f"fetch: {ARCHIVE}, {size / 1e6:.1f} MB of {wanted.package}@{wanted.version}, verified"
        f"{'' if new else ' (was there already)'}"
    )


if __name__ == "__main__":
    run(main)
