"""Reading of params.yaml: types and limits of each parameter, and conflicts between parameters."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from nanopoet.common.errors import NanopoetError
from nanopoet.common.yaml import read_yaml
from nanopoet.param_sections import FinetuneParams, Params, PretrainParams, ReinforceParams


def finetune_recipe(pretrain: PretrainParams, finetune: FinetuneParams) -> PretrainParams:
    """Return the recipe of the finetuning: `pretrain` with what `finetune` changes."""
    return _changed(pretrain, finetune)


def reinforce_recipe(pretrain: PretrainParams, reinforce: ReinforceParams) -> PretrainParams:
    """Return the recipe of the reinforcement: `pretrain` with what `reinforce` changes.

    Rows are as long as the longest poem of their step, so nothing is compiled for a length.
    """
    return _changed(pretrain, reinforce).model_copy(update={"compile": "off"})


def _changed(pretrain: PretrainParams, section: FinetuneParams | ReinforceParams) -> PretrainParams:
    shared = type(section).model_fields.keys() & PretrainParams.model_fields.keys()
    return pretrain.model_copy(update=section.model_dump(include=set(shared)))


def decisive(section: BaseModel) -> dict[str, Any]:
    """Return the parameters of a section that decide the result of a training."""
    return section.model_dump(exclude={"log_model_every"})


def load_params(path: str | Path = "params.yaml") -> Params:
    """Read and check a parameter file.

    Raises:
        NanopoetError: the file is missing or not YAML, or `check_params` refuses a parameter.
    """
    return check_params(read_yaml(path), path)


def check_params(raw: Any, path: str | Path) -> Params:
    """Check the content of a parameter file.

    Args:
        raw: sections by name, each a mapping of parameters to values.
        path: where `raw` comes from, for errors.

    Raises:
        NanopoetError: a parameter is unknown, missing, of the wrong type or out of range, or does
            not go with another parameter.
    """
    try:
        params = Params.model_validate(raw)
    except ValidationError as error:
        # A misspelt name is unknown, and the right name is missing. The former helps more.
        problems = error.errors(include_url=False)
        problems.sort(key=lambda problem: problem["type"] != "extra_forbidden")
        more = f" ({len(problems) - 1} more after this one)" if len(problems) > 1 else ""
        raise NanopoetError(f"{path}: {_explain(problems[0])}{more}") from None
    for conflict in _conflicts(params):
        raise NanopoetError(f"{path}: {conflict}")
    return params


def _explain(problem: ErrorDetails) -> str:
    """Explain an error of pydantic on one line: the parameter, its value, what is allowed."""
    names = [str(part) for part in problem["loc"]]
    name = ".".join(names) or "the file"
    if problem["type"] == "missing":
        return f"{name} is missing; add it (git's version of the file has a default)"
    if problem["type"] == "extra_forbidden":
        known = ", ".join(_section_of(names).model_fields)
        return f"{name} is unknown; known here: {known}; rename or remove it"
    value = repr(problem["input"])
    value = value if len(value) <= 80 else value[:77] + "..."
    rule = problem["msg"].removeprefix("Input ").removeprefix("String ")
    if problem["type"] == "model_type":
        rule = "should be a mapping of parameter names to values"
    if problem["type"] == "string_pattern_mismatch":
        while names[-1].isdigit():  # the place in a list
            names.pop()
        described = _section_of(names).model_fields[names[-1]].description or ""
        meaning = " ".join(described.split())
        rule = f"should be the {meaning[0].lower()}{meaning[1:].split('. ')[0].rstrip('.')}"
    if problem["type"] == "too_short":
        rule = "should not be empty"
    return f"{name} = {value} is not allowed: it {rule}; change it"


def _section_of(names: Sequence[str]) -> type[BaseModel]:
    """Return the section, or the part of one, in which the last of nested names stands."""
    section: Any = Params
    for name in names[:-1]:
        if not name.isdigit():  # the place in a list
            section = section.model_fields[name].annotation
        section = next(iter(get_args(section)), section)  # what a list holds
    assert isinstance(section, type) and issubclass(section, BaseModel)
    return section


def _conflicts(params: Params) -> Iterator[str]:
    """Yield what is wrong between parameters of which each by itself is allowed."""
    pretrain, context = params.pretrain, params.evaluate.context
    emb_size, block_size, head_num = pretrain.emb_size, pretrain.block_size, pretrain.head_num
    if params.load.source.startswith("~"):
        yield (
            f"load.source = {params.load.source!r} is not allowed: DVC takes ~ for a name; write "
            f"{os.path.expanduser(params.load.source)}"  # noqa: PTH111 - no error without a home
        )
    if emb_size % head_num:
        yield (
            f"pretrain.head_num = {head_num} does not divide pretrain.emb_size = {emb_size}; "
            f"all heads have the same number of channels, change one of the two"
        )
    if pretrain.architecture == "modern":
        distances = pretrain.previous_token_heads
        if head_num % pretrain.kv_head_num:
            yield (
                f"pretrain.kv_head_num = {pretrain.kv_head_num} does not divide pretrain.head_num "
                f"= {head_num}; each key and value head serves the same number of heads, change "
                f"one of the two"
            )
        if len(distances) > head_num or max(distances, default=0) >= block_size:
            yield (
                f"pretrain.previous_token_heads = {distances} is not allowed: at most "
                f"pretrain.head_num = {head_num} numbers, each below pretrain.block_size = "
                f"{block_size}; change it"
            )
        if emb_size // head_num % 2:
            yield (
                f"pretrain.head_num = {head_num} gives a head of pretrain.emb_size = {emb_size} an "
                f"odd width; rotary positions turn pairs of channels, change one of the two"
            )
    if pretrain.batch_size % pretrain.micro_batch_size:
        yield (
            f"pretrain.micro_batch_size = {pretrain.micro_batch_size} does not divide "
            f"pretrain.batch_size = {pretrain.batch_size}; change one of the two"
        )
    if context >= block_size:
        yield (
            f"evaluate.context = {context} is not below pretrain.block_size = {block_size}; a "
            f"window holds the context and at least one character more"
        )


if __name__ == "__main__":
    try:
        load_params()
    except (NanopoetError, OSError) as error:
        raise SystemExit(f"error: {error}") from None
