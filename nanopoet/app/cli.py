"""The command `nanopoet`: write poems, export a model, serve a page."""

import argparse
import io
import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from nanopoet.common.errors import NanopoetError
from nanopoet.models.sampling import KNOBS, Sampling, check_prompt

_DESCRIPTION = "Write classical Chinese verse with a model that this project trained."
_MODEL_HELP = """\
MODEL is one of
  a folder                   models/poet (the default)
  a model that MLflow keeps  models:/nanopoet@best, runs:/<run id>/model
  a folder that DVC tracks   models/poet with --rev <commit, tag, branch> or --repo <path or URL>
"""
_WRITE_EXAMPLES = """\
examples:
  nanopoet write                            a poem from nothing
  nanopoet write 明月 春風 --count 2        two poems for each beginning
  nanopoet write 明月 --temperature 0.8 --top-p 0.95 --seed 1
  nanopoet write - < beginnings.txt         each line of the file is a beginning
  nanopoet write 明月 --model models:/nanopoet@best
"""
_EXPORT_EXAMPLES = """\
examples:
  nanopoet export huggingface poet-hf       a folder that transformers reads
  nanopoet export gguf poet.gguf            a file that llama.cpp reads
"""
_SERVE_EXAMPLES = """\
examples:
  nanopoet serve                            http://127.0.0.1:8000, for this machine alone
  nanopoet serve --port 0                   any port that is free
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: its arguments; those of this process by default.

    Returns:
        exit status: 0, 1 after a mistake that one line explains, 130 after Ctrl-C, 141 if the
        reader of the output went away. Wrong usage raises `SystemExit(2)`, as argparse does.
    """
    args = _parser().parse_args(argv)
    try:
        run: Callable[[argparse.Namespace], None] = args.run
        run(args)
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes once more at its end and must not meet the closed pipe again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (NanopoetError, OSError) as error:
        print(f"error: nanopoet {args.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nanopoet", description=_DESCRIPTION)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(
        name: str, run: Callable[[argparse.Namespace], None], text: str, examples: str
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name,
            help=text,
            description=text,
            epilog=f"{examples}\n{_MODEL_HELP}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.set_defaults(run=run)
        command.add_argument("--model", default="models/poet", help="see below")
        command.add_argument("--rev", help="git revision of a model that DVC tracks")
        command.add_argument("--repo", help="git repository of a model that DVC tracks")
        return command

    write = add("write", _write, "write poems to the terminal", _WRITE_EXAMPLES)
    write.add_argument(
        "prompts",
        nargs="*",
        default=[""],
        metavar="PROMPT",
        help="how a poem begins; - reads beginnings from standard input, one a line",
    )
    for name, knob in KNOBS.items():
        default = "a new one each time" if name == "seed" else f"{knob.default:g}"
        write.add_argument(
            f"--{name.replace('_', '-')}",
            type=_value_of(name),
            default=None if name == "seed" else knob.kind(knob.default),
            metavar="N" if knob.kind is int else "X",
            help=f"{knob.range}; default: {default}",
        )

    export = add("export", _export, "write the model as other programs read it", _EXPORT_EXAMPLES)
    export.add_argument("format", choices=["huggingface", "gguf"])
    export.add_argument("target", type=Path, metavar="TARGET", help="the folder or file to make")

    serve = add("serve", _serve, "open a page that writes poems", _SERVE_EXAMPLES)
    serve.add_argument(
        "--host", default="127.0.0.1", help="address to listen on, default: %(default)s"
    )
    serve.add_argument("--port", type=_port, default=8000, help="default: %(default)s; 0: any free")
    return parser


def _value_of(name: str) -> Callable[[str], float]:
    """A reader of one of `KNOBS` for argparse, which puts the errors into words of its own."""
    knob = KNOBS[name]

    def read(text: str) -> float:
        try:
            value: float = knob.kind(text)
        except ValueError:
            value = float("nan")
        try:
            knob.check(name, value)
        except NanopoetError:
            raise argparse.ArgumentTypeError(f"{text} is not allowed: {knob.range}") from None
        return value

    return read


def _port(text: str) -> int:
    if not (text.isdecimal() and int(text) < 1 << 16):
        raise argparse.ArgumentTypeError(f"{text} is not allowed: 0 to 65535")
    return int(text)


def _write(args: argparse.Namespace) -> None:
    prompts = [line for prompt in args.prompts for line in _read_prompt(prompt)]
    for prompt in prompts:
        check_prompt(prompt)
    settings = {name: getattr(args, name) for name in KNOBS}
    if settings["seed"] is None:
        settings["seed"] = random.SystemRandom().randint(0, int(KNOBS["seed"].most))
    sampling = Sampling(**settings)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    # Late, so that `--help` and wrong usage need not wait for torch.
    import torch

    from nanopoet.app.writer import Writer
    from nanopoet.common.device import keep_freed_memory
    from nanopoet.common.text import iter_lines
    from nanopoet.models.checkpoint import load_model

    keep_freed_memory()
    with _model_folder(args) as folder:
        writer = Writer(*load_model(folder))
    generator = torch.Generator().manual_seed(sampling.seed)
    live = sys.stdout.isatty()
    between = ""
    for prompt in prompts:
        if unknown := writer.unknown(prompt):
            print(f"note: the model does not know {unknown}", file=sys.stderr)
        for _ in range(sampling.count):
            print(between, end="")
            poem = writer.stream(prompt, sampling, generator)
            for part in iter_lines(chain(prompt, poem)):
                print(part, end="", flush=live)
            print(flush=True)
            between = "\n"


def _read_prompt(prompt: str) -> list[str]:
    if prompt != "-":
        return [prompt]
    try:
        lines = sys.stdin.buffer.read().decode("utf-8-sig").split("\n")
    except UnicodeDecodeError:
        raise NanopoetError("standard input is not text: give it as UTF-8") from None
    return [line.strip() for line in lines if line.strip()]


def _export(args: argparse.Namespace) -> None:
    from nanopoet.models.checkpoint import load_model

    with _model_folder(args) as folder:
        model, tokenizer = load_model(folder)
    if args.format == "huggingface":
        from nanopoet.export.huggingface import export_huggingface

        export_huggingface(model, tokenizer, args.target)
    else:
        from nanopoet.export.gguf import export_gguf

        export_gguf(model, tokenizer, args.target)
    print(f"wrote {args.target}")


def _serve(args: argparse.Namespace) -> None:
    from nanopoet.app.web import serve
    from nanopoet.app.writer import Writer
    from nanopoet.models.checkpoint import load_model

    with _model_folder(args) as folder:
        writer = Writer(*load_model(folder))
    serve(writer, args.host, args.port)


@contextmanager
def _model_folder(args: argparse.Namespace) -> Iterator[Path]:
    """The model folder that `--model`, `--rev` and `--repo` name, fetched if it is elsewhere.

    The one place of the library that asks DVC and MLflow, and only for a model that they keep:
    the stages, which know both, are not installed with the command.

    Raises:
        NanopoetError: there is no such model.
    """
    tracked = args.rev is not None or args.repo is not None
    with tempfile.TemporaryDirectory(prefix="nanopoet-") as scratch:
        if args.model.startswith(("models:/", "runs:/")):
            if tracked:
                raise NanopoetError("--rev and --repo are for a model that DVC tracks")
            yield _from_mlflow(args.model, scratch)
        elif tracked:
            yield _from_dvc(args.model, args.repo, args.rev, Path(scratch, "poet"))
        elif Path(args.model).is_dir():
            yield Path(args.model)
        else:
            raise NanopoetError(
                f"--model {args.model}: no such folder; run `make repro`, which makes models/poet, "
                f"or name another (see `nanopoet {args.command} --help`)"
            )


def _from_mlflow(uri: str, scratch: str) -> Path:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    import mlflow
    from mlflow.exceptions import MlflowException

    if not os.environ.get("MLFLOW_TRACKING_URI"):
        store = Path("mlflow.db").absolute()
        if not store.exists():  # MLflow would make one
            raise NanopoetError(
                f"--model {uri}: no {store}; run it in the project, or set MLFLOW_TRACKING_URI"
            )
        mlflow.set_tracking_uri(f"sqlite:///{store}")
    try:
        downloaded = mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=scratch)
    except (MlflowException, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise NanopoetError(f"--model {uri}: MLflow does not give it ({reason})") from None
    return Path(downloaded, "artifacts/poet")


def _from_dvc(path: str, repo: str | None, rev: str | None, target: Path) -> Path:
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException
    from scmrepo.exceptions import SCMError

    try:
        files = DVCFileSystem(url=repo, rev=rev)
        files.get(path, str(target), recursive=True)
    except (DvcException, SCMError, OSError) as error:
        where = f"--model {path} --repo {repo or '.'} --rev {rev or 'as it is'}"
        reason = str(error).strip().splitlines()[0]
        raise NanopoetError(f"{where}: DVC does not give it ({reason})") from None
    return target


if __name__ == "__main__":
    sys.exit(main())
