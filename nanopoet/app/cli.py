"""The command `nanopoet`: write poems, export a model, serve a page."""

import argparse
import io
import os
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from nanopoet import __version__
from nanopoet.app.options import (
    add_request,
    add_sampling,
    address,
    as_options,
    host_name,
    naming,
    port,
    read_prompt,
    refuse_gone,
)
from nanopoet.common.errors import FileError, NanopoetError
from nanopoet.common.model_folders import MADE_BY, PRETRAINED, best_model
from nanopoet.models.sampling import Sampling, check_prompt
from nanopoet.writing.request import Request

# Imported late below, so that `--help` and wrong usage need not wait for torch, and so that a
# plain installation, without the extras, can write poems.
if TYPE_CHECKING:
    from nanopoet.models.base import LanguageModel
    from nanopoet.tokens.tokenizer import CharTokenizer

Loaded = TypeVar("Loaded")

_DESCRIPTION = "Write classical Chinese verse with a model that this project trained."
_MLFLOW = "mlflow artifacts download --artifact-uri {uri} --dst-path poet"
_MODEL_HELP = f"""\
a model kept elsewhere, by MLflow, at another commit, in another repository:
  {_MLFLOW.format(uri="models:/nanopoet@best")}
  nanopoet write --model poet/artifacts/poet
  dvc get . {PRETRAINED} --rev <commit, tag or branch> -o poet
  dvc get <path or URL> {PRETRAINED} -o poet
  nanopoet write --model poet
"""
_WRITE_EXAMPLES = """\
examples:
  nanopoet write                            a poem from nothing
  nanopoet write 明月 春風 --count 2        two poems for each beginning
  nanopoet write 明月 --temperature 0.8 --top-p 0.95 --seed 1
  nanopoet write - < beginnings.txt         each line of the file is a beginning
  nanopoet write --form 七绝 --author 李白 --title 月夜 --keep-rules
  nanopoet write --form 五绝 --acrostic 春夏秋冬 --keep-rules --count 3
  nanopoet write --draft 白日依山盡，？？？？？。 --rhyme 尤
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
  nanopoet serve --allow-host poems.example behind a proxy of this name
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: its arguments; by default the arguments of this process.

    Returns:
        exit status: 0, or 1 after a mistake that one line explains. 130 after Ctrl-C, and 141 if
        the reader of the output has gone. Wrong usage raises `SystemExit(2)`, as argparse does.
    """
    parser = _parser()
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        parser.error(f"{unknown[0]} is no option; a prompt that begins with - goes after --")
    try:
        if sys.stdout is None:  # closed, as by `>&-`
            raise NanopoetError("standard output is closed; open it")
        run: Callable[[argparse.Namespace], None] = args.run
        run(args)
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes once more at its end and must not meet the closed pipe again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (NanopoetError, OSError) as error:
        problem = as_options(str(error))
        if isinstance(error, OSError) and error.strerror:
            problem = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        print(f"error: nanopoet {args.command}: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nanopoet", description=_DESCRIPTION)
    version = f"%(prog)s {__version__}"
    parser.add_argument("--version", action="version", version=version)
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
        default = (
            PRETRAINED if name == "export" else f"the first of {', '.join(MADE_BY)} that is there"
        )
        command.add_argument("--model", help=f"folder, default: {default}")
        command.add_argument("--rev", "--repo", type=refuse_gone, help=argparse.SUPPRESS)
        return command

    write = add("write", _write, "write poems to the terminal", _WRITE_EXAMPLES)
    write.add_argument(
        "prompts",
        nargs="*",
        default=[""],
        metavar="PROMPT",
        help="how a poem begins; - reads beginnings from standard input, one a line",
    )
    add_request(write)
    add_sampling(write)

    export = add("export", _export, "write the model as other programs read it", _EXPORT_EXAMPLES)
    export.add_argument("format", choices=["huggingface", "gguf"])
    export.add_argument("target", metavar="TARGET", help="the folder or file to make")

    serve = add("serve", _serve, "open a page that writes poems", _SERVE_EXAMPLES)
    serve.add_argument(
        "--host",
        type=address,
        default="127.0.0.1",
        help="address to listen on, default: %(default)s",
    )
    serve.add_argument("--port", type=port, default=8000, help="default: %(default)s; 0: any free")
    serve.add_argument(
        "--allow-host",
        type=host_name,
        action="append",
        default=[],
        metavar="NAME",
        help="a name by which a proxy calls the page; may be repeated",
    )
    return parser


def _write(args: argparse.Namespace) -> None:
    wishes = {name: getattr(args, name) for name in Request.model_fields if name != "opening"}
    asks = any(wishes.values())
    prompts = [each for prompt in args.prompts for each in read_prompt(prompt)]
    requests: list[tuple[str, Request]] = []
    for where, prompt in prompts:
        with naming(where):
            check_prompt(prompt)
            if asks:
                requests.append((where, Request.read(wishes | {"opening": prompt})))
    values = {name: getattr(args, name) for name in Sampling.model_fields}
    if values["seed"] is None:
        values["seed"] = random.SystemRandom().randint(0, Sampling.properties()["seed"]["maximum"])
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    from nanopoet.app.terminal import print_asked, print_poems
    from nanopoet.app.writer import Writer
    from nanopoet.common.device import keep_freed_memory

    keep_freed_memory()
    sampling, folder = Sampling.read(values), _folder(args, best_model())
    if asks:
        from nanopoet.writing.folder import load_poet

        print_asked(_load(load_poet, folder), requests, sampling)
    else:
        print_poems(Writer(*_load_model(folder)), [prompt for _, prompt in prompts], sampling)
    _say_which(args, folder)


def _folder(args: argparse.Namespace, default: str) -> str:
    return default if args.model is None else args.model


def _say_which(args: argparse.Namespace, folder: str) -> None:
    """Say on standard error which model writes, if it is a further one that nobody named."""
    if args.model is None and folder != PRETRAINED:
        print(f"nanopoet: {folder} is the model; --model names another", file=sys.stderr)


def _export(args: argparse.Namespace) -> None:
    export: Callable[[LanguageModel, CharTokenizer, Path], None]
    with _extra("export"):
        if args.format == "huggingface":
            from nanopoet.export.huggingface import export_huggingface

            export = export_huggingface
        else:
            from nanopoet.export.gguf import export_gguf

            export = export_gguf
    folder, target = _folder(args, PRETRAINED), Path(args.target)
    if args.format == "gguf" and args.target.endswith("/"):
        raise NanopoetError(f"{args.target}: a folder; name a file, as {args.target}poet.gguf")
    model, tokenizer = _load_model(folder)
    if target.resolve().is_relative_to(Path(folder).resolve()):
        raise NanopoetError(f"{target}: inside the model folder; name a place outside of it")
    try:
        export(model, tokenizer, target)
    except OSError as error:
        problem = f"cannot be written ({error.strerror}); name another place"
        raise NanopoetError(f"{target}: {problem}") from None
    print(f"wrote {target}")


def _serve(args: argparse.Namespace) -> None:
    with _extra("serve"):
        from nanopoet.app.web import serve
    from nanopoet.app.writer import Writer
    from nanopoet.ops.linear import packed
    from nanopoet.training.history import last_loss
    from nanopoet.writing.folder import load_poet

    folder = _folder(args, best_model())
    writer = Writer(*_load(load_poet, folder), folder, _load(last_loss, folder))
    _say_which(args, folder)
    with packed(writer.model):
        serve(writer, args.host, args.port, args.allow_host)


@contextmanager
def _extra(name: str) -> Iterator[None]:
    """Name the extra to install if an import in the block finds no package."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package in {"", "nanopoet"}:  # a bug
            raise
        raise NanopoetError(
            f"the package {package} is missing; run `pip install 'nanopoet[{name}]'`"
        ) from None


def _load_model(folder: str) -> tuple["LanguageModel", "CharTokenizer"]:
    from nanopoet.models.checkpoint import load_model

    return _load(load_model, folder)


def _load(read: Callable[[str], Loaded], folder: str) -> Loaded:
    """Read the model that `--model` names.

    Raises:
        NanopoetError: there is no such model, or it is damaged.
    """
    if folder.startswith(("models:/", "runs:/")):
        download = _MLFLOW.format(uri=folder)
        raise NanopoetError(
            f"--model {folder}: not a folder; run `{download}` in the project, and name "
            "poet/artifacts/poet"
        )
    if folder in MADE_BY:
        remedy = f"run `make {MADE_BY[folder]}` or `dvc pull`, or name another folder with --model"
    else:
        remedy = f"name a model folder with --model, such as {PRETRAINED}"
    try:
        return read(folder)
    except FileError as error:
        given = error.path == Path(folder) and folder not in MADE_BY
        option = "--model " if given else ""
        raise NanopoetError(f"{option}{error}; {remedy}") from None


if __name__ == "__main__":
    sys.exit(main())
