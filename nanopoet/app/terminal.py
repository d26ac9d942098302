"""Poems on the terminal."""

import sys
from collections.abc import Sequence
from itertools import chain

import torch

from nanopoet.app.options import as_options, naming
from nanopoet.app.writer import Writer
from nanopoet.common.text import as_lines, iter_lines
from nanopoet.models.sampling import Sampling
from nanopoet.ops.linear import packed
from nanopoet.tokens.prompts import in_known_script
from nanopoet.writing.folder import Poet
from nanopoet.writing.refused import on_one_line
from nanopoet.writing.request import Request
from nanopoet.writing.write import iter_poems


def print_poems(writer: Writer, prompts: Sequence[str], sampling: Sampling) -> None:
    """Print poems as they are written, with a blank line between two.

    Args:
        writer: writes them.
        prompts: how the poems begin.
        sampling: how to sample, and how many poems for each prompt.
    """
    generator = torch.Generator().manual_seed(sampling.seed)
    live = sys.stdout.isatty()
    between = ""
    with packed(writer.model):
        for prompt in (in_known_script(each, writer.tokenizer) for each in prompts):
            if unknown := writer.tokenizer.unknown(prompt):
                print(f"note: the model does not know {on_one_line(unknown)}", file=sys.stderr)
            for _ in range(sampling.count):
                print(between, end="")
                poem = writer.stream(prompt, sampling, generator)
                for part in iter_lines(chain(prompt, poem)):
                    print(part, end="", flush=live)
                print(flush=True)
                between = "\n"


def print_asked(poet: Poet, requests: Sequence[tuple[str, Request]], sampling: Sampling) -> None:
    """Print poems for requests, with a blank line between two.

    Args:
        poet: the model, its vocabulary and its catalogue.
        requests: what the poems shall be, each after the words that say where it is given.
        sampling: how to sample, and how many poems for each request.

    Raises:
        NanopoetError: no poem can be so.
    """
    generator = torch.Generator().manual_seed(sampling.seed)
    between = ""
    with packed(poet[0]):
        for where, request in requests:
            with naming(where):
                *_, last = iter_poems(*poet, request, sampling, generator)
            for note in last.notes:
                print(f"note: {where}{as_options(str(note))}", file=sys.stderr)
            for poem in last.poems:
                print(f"{between}{as_lines(poem)}", flush=True)
                between = "\n"
