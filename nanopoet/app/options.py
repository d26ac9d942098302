"""Options of the command: how their values are read and refused."""

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from nanopoet.common.errors import NanopoetError
from nanopoet.models.sampling import Sampling
from nanopoet.writing.request import Request


def add_sampling(parser: argparse.ArgumentParser) -> None:
    """Add an option for each parameter of `Sampling`."""
    for name, schema in Sampling.properties().items():
        is_seed, is_integer = name == "seed", schema["type"] == "integer"
        default = "a new one each time" if is_seed else f"{schema['default']:g}"
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=_reader(name, int if is_integer else float),
            default=None if is_seed else schema["default"],
            metavar="N" if is_integer else "X",
            help=f"{Sampling.allowed(name)}; default: {default}",
        )


def add_request(parser: argparse.ArgumentParser) -> None:
    """Add an option for each field of `Request` but the opening, which is the prompt."""
    group = parser.add_argument_group("what the poem shall be")
    for name, field in Request.model_fields.items():
        option = f"--{name.replace('_', '-')}"
        if name == "opening":
            continue
        if field.annotation is bool:
            group.add_argument(option, action="store_true", help=field.description)
        elif name == "keywords":
            group.add_argument(
                "--keyword",
                dest=name,
                action="append",
                default=[],
                metavar="WORD",
                help="a word that must occur; may be repeated",
            )
        else:
            group.add_argument(option, default="", metavar="TEXT", help=field.description)


def read_prompt(argument: str) -> list[tuple[str, str]]:
    """Read the prompts for which an argument stands.

    Args:
        argument: a prompt, or `-` for those of standard input, one a line.

    Returns:
        each prompt without spaces, after the words that say where it is.

    Raises:
        NanopoetError: standard input is closed, empty or no text.
    """
    if argument != "-":
        return [("", "".join(argument.split()))]
    if sys.stdin is None:  # closed, as by `<&-`
        raise NanopoetError("standard input is closed: give it beginnings, one a line")
    try:
        lines = sys.stdin.buffer.read().decode("utf-8-sig").split("\n")
    except UnicodeDecodeError:
        raise NanopoetError("standard input is not text: give it as UTF-8") from None
    prompts = [
        (f"standard input, line {number}: ", "".join(line.split()))
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    if not prompts:
        raise NanopoetError("standard input is empty: give it beginnings, one a line")
    return prompts


def as_options(message: str) -> str:
    """Name options in a message where it names fields of a request.

    >>> as_options("rhyme_from = 東 has none of 上平聲二冬")
    '--rhyme-from 東 has none of 上平聲二冬'
    """
    options = {name: f"--{name.replace('_', '-')}" for name in Request.model_fields}
    options |= {"opening": "prompt", "keywords": "--keyword"}
    named = re.sub(rf"\b({'|'.join(options)}) = ", lambda found: f"{options[found[1]]} ", message)
    return named.replace("keep_rules", options["keep_rules"])


def _reader(name: str, kind: type[int] | type[float]) -> Callable[[str], float]:
    """Make a reader of a parameter of `Sampling` for argparse."""

    def read(text: str) -> float:
        value: Any = text
        with suppress(ValueError):
            value = kind(text)
        try:
            checked: float = getattr(Sampling.read({name: value}), name)
        except NanopoetError as error:
            raise argparse.ArgumentTypeError(str(error).removeprefix(f"{name} = ")) from None
        return checked

    return read


@contextmanager
def naming(where: str) -> Iterator[None]:
    """Put words that say where something is given before the message of an error in it.

    Raises:
        NanopoetError: there was one.
    """
    try:
        yield
    except NanopoetError as error:
        raise NanopoetError(f"{where}{error}") from None


def port(text: str) -> int:
    """Read the number of a port."""
    if not (text.isdecimal() and int(text) < 1 << 16):
        raise argparse.ArgumentTypeError(f"{text} is not allowed: 0 to 65535")
    return int(text)


def address(text: str) -> str:
    """Read an address to listen on."""
    if not text.strip():  # Python would listen on all
        raise argparse.ArgumentTypeError("is empty: give an address, as 127.0.0.1")
    return text


def host_name(text: str) -> str:
    """Read a host name or an IP address, and return it in lower case, without brackets."""
    if not re.fullmatch(r"[\w.-]+|\[[0-9a-f:.]+\]", text, re.ASCII | re.IGNORECASE):
        problem = f"{text!r} is not allowed: a name such as poems.example, without http:// and port"
        raise argparse.ArgumentTypeError(problem)
    return text.lower().strip("[]")


def refuse_gone(_text: str) -> None:
    """Refuse an option that the command had once."""
    raise argparse.ArgumentTypeError(
        "gone; `dvc pull` fetches the model of this commit, and `dvc get` any other one as "
        "`nanopoet write --help` shows"
    )
