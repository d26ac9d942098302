"""Parameters of writing: defaults, ranges, and errors of one line."""

from typing import Any

import pytest

from nanopoet.common.errors import NanopoetError
from nanopoet.models.sampling import Sampling, check_prompt

DEFAULTS = {
    "max_new_tokens": 100,
    "temperature": 1.0,
    "top_k": 0,
    "top_p": 1.0,
    "seed": 0,
    "count": 1,
}
RANGES = {
    "max_new_tokens": (1, 1000),
    "temperature": (0, 10),
    "top_k": (0, 100_000),
    "top_p": (1e-6, 1),
    "seed": (0, 2**32 - 1),
    "count": (1, 256),
}


def test_defaults_and_ranges() -> None:
    assert Sampling.read({}).model_dump() == DEFAULTS
    found = {name: (s["minimum"], s["maximum"]) for name, s in Sampling.properties().items()}
    assert found == RANGES
    for name, ends in RANGES.items():
        for end in ends:
            assert getattr(Sampling.read({name: end}), name) == end


def test_json_is_read_like_a_mapping() -> None:
    assert Sampling.read(b'{"seed": 3, "top_p": 1}') == Sampling(seed=3, top_p=1.0)


def test_generation_draws_from_all_tokens_unless_told_otherwise() -> None:
    assert Sampling().arguments() == {
        "max_new_tokens": 100,
        "temperature": 1.0,
        "top_k": None,
        "top_p": 1.0,
    }
    assert Sampling(top_k=9).arguments()["top_k"] == 9


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"temperature": 11},
            "temperature = 11 is not allowed: 0 to 10 (below 1 favours likely characters, 0 takes "
            "the likeliest)",
        ),
        (
            {"seed": "1"},
            "seed = '1' is not allowed: it must be a whole number, 0 to 4294967295 (the same seed "
            "writes the same poems)",
        ),
        (
            {"top_p": None},
            "top_p = None is not allowed: it must be a number, 1e-06 to 1 (draw from the "
            "likeliest that have this probability)",
        ),
        (
            {"count": True},
            "count = True is not allowed: it must be a whole number, 1 to 256 (poems for each "
            "prompt)",
        ),
        (
            {"warmth": 1},
            "'warmth' is unknown: known are max_new_tokens, temperature, top_k, top_p, seed, count",
        ),
    ],
)
def test_an_error_names_parameter_value_and_what_is_allowed(
    values: dict[str, Any], message: str
) -> None:
    with pytest.raises(NanopoetError) as caught:
        Sampling.read(values)
    assert str(caught.value) == message


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, 1e30, 10**30, [1], "", {}])
def test_a_value_out_of_range_or_of_another_type_is_refused(name: str, value: Any) -> None:
    with pytest.raises(NanopoetError, match=f"^{name} = "):
        Sampling.read({name: value})


@pytest.mark.parametrize(
    "prompt", [None, float("nan"), 1, True, ["春"], "\udcff" * 900, "山" * 1001, "\x1b[2J", "\x00"]
)
def test_a_prompt_that_is_no_text_is_refused_in_one_short_line(prompt: object) -> None:
    """JSON for the served model can hold any of them."""
    with pytest.raises(NanopoetError, match="prompt") as caught:
        check_prompt(prompt)
    assert len(str(caught.value)) < 120
    assert str(caught.value).isprintable()
