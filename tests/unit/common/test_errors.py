import pickle
from pathlib import Path

from nanopoet.common.errors import FileError


def test_the_error_of_a_file_names_it_and_survives_a_process() -> None:
    error = FileError("models/poet/config.json", "no such file")
    for each in (error, pickle.loads(pickle.dumps(error))):  # noqa: S301
        assert isinstance(each, FileError)
        assert str(each) == "models/poet/config.json: no such file"
        assert (each.path, each.problem) == (Path("models/poet/config.json"), "no such file")
