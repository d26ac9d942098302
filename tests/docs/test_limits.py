"""The limits that docs/command.md lists are those of the code."""

from typing import Any

from nanopoet.app.access import _LARGEST_BODY, MOST_REQUESTS
from nanopoet.app.poem_request import PoemRequest
from nanopoet.models.sampling import LONGEST_PROMPT, MOST_POEMS, Sampling
from nanopoet.writing.request import Request
from tests.support.project import ROOT


def _listed() -> dict[str, int]:
    """Return the rows of the table: what → most."""
    section = (ROOT / "docs/command.md").read_text(encoding="utf-8").partition("## Limits")[2]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line[:2] == "| "]
    return {what: int(most.replace(",", "")) for what, most in rows[1:]}


def _schema(options: type[Request | Sampling], name: str) -> dict[str, Any]:
    schema: dict[str, Any] = options.properties()[name]
    return schema


def test_the_limits_are_those_of_the_code() -> None:
    longest = {name: _schema(Request, name).get("maxLength") for name in Request.model_fields}
    keywords = _schema(Request, "keywords")
    assert longest["acrostic"] == longest["rhyme_characters"]
    assert longest["author"] == longest["form"]
    assert _listed() == {
        "`--count` of the command and Python, for each prompt": _schema(Sampling, "count")[
            "maximum"
        ],
        "`count` of the page and `POST /poems`": _schema(PoemRequest, "count")["maximum"],
        "poems of one request to the model that MLflow serves": MOST_POEMS,
        "`--max-new-tokens`": _schema(Sampling, "max_new_tokens")["maximum"],
        "`--temperature`": _schema(Sampling, "temperature")["maximum"],
        "`--top-k`": _schema(Sampling, "top_k")["maximum"],
        "`--seed`": _schema(Sampling, "seed")["maximum"],
        "characters of a prompt that the command or MLflow only continues": LONGEST_PROMPT,
        "characters of any other opening": longest["opening"],
        "characters of a draft": longest["draft"],
        "characters of `--rhyme-from`": longest["rhyme_from"],
        "characters of `--acrostic`, or of `--rhyme-characters`": longest["acrostic"],
        "characters of `--title`": longest["title"],
        "characters of `--author`, or of `--form`": longest["author"],
        "characters of `--rhyme`": longest["rhyme"],
        "keywords": keywords["maxItems"],
        "characters of a keyword": keywords["items"]["maxLength"],
        "bytes of a request to `POST /poems`": _LARGEST_BODY,
        "requests at once on the page": MOST_REQUESTS,
    }
