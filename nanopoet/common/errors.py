"""Errors that a user can cause and fix."""

from pathlib import Path


class NanopoetError(ValueError):
    """A mistake in the input, explained on one line.

    The message names the file or parameter, the value, what is allowed and what to do. Commands
    print it and exit with status 1. Any other exception is a bug and keeps its traceback.
    """


class FileError(NanopoetError):
    """A file that is missing or damaged.

    Attributes:
        path: the file.
        problem: what is wrong with it, as `no such file`.

    >>> print(FileError("data/vocab.json", "no such file"))
    data/vocab.json: no such file
    """

    def __init__(self, path: str | Path, problem: str) -> None:
        super().__init__(path, problem)
        self.path = Path(path)
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}"
