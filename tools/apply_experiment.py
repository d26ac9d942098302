"""Apply an experiment where some stages have never run: `make apply EXPERIMENT=lr-12`.

`dvc exp apply` does the same, and ends with an error if DVC's cache lacks an out of any stage, as
before the first `make finetune`.
"""

import argparse
import os
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.repo import Repo

from nanopoet.common.errors import NanopoetError
from stages.runner import outs_by_stage, run


def main() -> None:
    """Apply the experiment that is named on the command line, and say which outs are missing.

    Raises:
        NanopoetError: no experiment is named, or DVC cannot apply it.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="*", help="of an experiment")
    name = " ".join(parser.parse_args().name).strip()
    if not name:
        raise NanopoetError(
            "name an experiment of `dvc exp list`, as in `make apply EXPERIMENT=lr-12`"
        )
    try:
        with Repo() as repo:
            repo.experiments.apply(name, allow_missing=True)
    except DvcException as error:
        raise NanopoetError(str(error)) from None
    print(f"apply_experiment: the workspace is as the experiment {name} left it")
    lacking = {
        stage: [os.path.relpath(path) for path in outs if not Path(path).exists()]
        for stage, outs in outs_by_stage("outs").items()
    }
    missing = [path for outs in lacking.values() for path in outs]
    if missing:
        stages = " ".join(stage for stage, outs in lacking.items() if outs)
        print(
            f"apply_experiment: DVC's cache has no {', '.join(missing)}; "
            f"run `dvc repro {stages}` to make them"
        )


if __name__ == "__main__":
    run(main, takes_arguments=True)
