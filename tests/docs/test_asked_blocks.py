"""Tables of models that are asked for poems."""

import json
from typing import Any

import pytest

from tests.support.project import ROOT
from tools.figure_blocks import BLOCKS
from tools.figures import REFERENCE


@pytest.fixture
def reference() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((ROOT / REFERENCE).read_text(encoding="utf-8"))
    return content


def test_the_strong_reader_has_a_figure_only_for_poems_that_it_has_read(
    reference: dict[str, Any],
) -> None:
    def cells() -> list[str]:
        [row] = [row for row in BLOCKS["reinforced"](reference).splitlines() if "strong" in row]
        return [cell.strip() for cell in row.strip("|").split("|")][1:]

    read = reference["reader"]["asked"]
    names = ("finetuned", "reinforced", "people")
    finetuned, reinforced, people = (f"{read[name]['reader_model']:.2f}" for name in names)
    assert cells() == [finetuned, reinforced, "–", people]
    read["reinforced"]["reader_ngram"] += 1e-9
    assert cells() == [finetuned, "–", "–", people]
    reference["reader"] = {}
    assert "strong reader" not in BLOCKS["reinforced"](reference)
