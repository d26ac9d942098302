"""A folder with a model, as the command finds it."""

from pathlib import Path

import pytest

from nanopoet.models.checkpoint import save_model
from tests.support.models import tiny_model


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model in models/poet, and a file of beginnings."""
    folder = tmp_path_factory.mktemp("home")
    save_model(folder / "models/poet", *tiny_model(), {})
    (folder / "beginnings.txt").write_text("春\n\n山水\n", encoding="utf-8")
    return folder
