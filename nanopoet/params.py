"""The parameters of params.yaml: one class per section, one section per stage.

The text under each parameter says what it means; its type and limits are checked when it is read.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from nanopoet.common.errors import NanopoetError
from nanopoet.common.yaml import read_yaml


class _Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class FetchParams(_Section):
    """The corpus archive to download."""

    package: str = Field(pattern=r"^(@[a-z0-9._-]+/)?[a-z0-9][a-z0-9._-]*$")
    """Name of the corpus package on the npm registry."""
    version: str = Field(pattern=r"^[0-9]+\.[0-9]+\.[0-9]+[0-9A-Za-z.+-]*$")
    """Exact version of the package."""
    integrity: str = Field(pattern=r"^sha512-[A-Za-z0-9+/]{86}==$")
    """Digest of the archive in the notation of the registry: `sha512-` and base64."""


class LoadParams(_Section):
    """The poems to read."""

    source: str = Field(min_length=1)
    """Path of the corpus: the downloaded archive, a `.jsonl` of your own, or a folder in the layout
    of the archive."""
    script: Literal["keep", "traditional", "simplified"]
    """Script of content, title and author. `keep` leaves all as it is. With `traditional` or
    `simplified`, OpenCC converts texts that contain characters of the other script."""


class SplitParams(_Section):
    """The division of the poems into a training and a validation part."""

    val_every: int = Field(ge=2)
    """Poems are sorted by style, and every n-th goes to validation, the first one included."""
    duplicates: Literal["ignore", "together"]
    """Treatment of validation poems that have a duplicate or near-duplicate in the training part.
    `ignore` leaves them where `val_every` puts them; `together` moves them to the training part."""


class EncodeParams(_Section):
    """The conversion of poems to token ids."""

    separators: bool
    """A BEGIN token before each poem. With it the model learns where poems begin and end."""


_OPTIONS = "standalone|nproc-per-node|nnodes|node-rank|master-addr|master-port"
_OPTIONS += "|rdzv-backend|rdzv-endpoint|rdzv-id"
_TORCHRUN = rf"^( *--({_OPTIONS})( [A-Za-z0-9_.:-]*[A-Za-z0-9_.:])?)*$"
"""Allows numbers of processes and their meeting point only: `torchrun` can start any program."""


class PretrainParams(_Section):
    """The model and its training."""

    architecture: Literal["classic", "modern"]
    """`classic` is the GPT of the teaching notebook; `modern` has RoPE, RMSNorm and SwiGLU."""
    emb_size: int = Field(ge=1)
    """Width C of the residual stream."""
    block_size: int = Field(ge=1)
    """Length T of a training window in tokens, and the longest context of the model."""
    layer_num: int = Field(ge=1)
    """Number of transformer blocks."""
    head_num: int = Field(ge=1)
    """Number of attention heads per block; divides `emb_size`."""
    kv_head_num: int = Field(ge=1)
    """Number of key and value heads per `modern` block; divides `head_num`. Fewer heads make
    single-token decoding faster. `classic` has as many as `head_num`."""
    previous_token_heads: list[Annotated[int, Field(ge=1)]]
    """Heads in the first block of a `modern` model that begin training by attending to an earlier
    token, given as distances in tokens: `[1, 2]` is one head for the previous token and one for the
    token before it. `[]` for no such head."""
    mlp_size: int = Field(ge=1)
    """Hidden width of the MLP in a `modern` block; `classic` has four times `emb_size`."""
    dropout: float = Field(ge=0, lt=1)
    """Probability of zeroing an activation in training."""
    max_steps: int = Field(ge=1)
    """Number of optimizer steps."""
    batch_size: int = Field(ge=1)
    """Training windows per step."""
    windows: Literal["random", "epochs"]
    """Positions of the training windows. `random` draws each independently. `epochs` lays windows
    side by side, uses each once per epoch, and fills a batch from all over the training part."""
    micro_batch_size: int = Field(ge=1)
    """Windows per forward pass; divides `batch_size`. The gradients of a step are summed, so a
    smaller value saves memory and does not change the result."""
    activation_checkpointing: bool
    """Recomputation of the activations of a block in the backward pass instead of storing them.
    It saves memory, takes about a third more time, and does not change the result."""
    optimizer: Literal["adamw", "muon"]
    """`adamw` for all weights, or `muon` for the matrices of the blocks and AdamW for the rest."""
    lr: float = Field(gt=0)
    """Peak learning rate of AdamW, except for the token embedding."""
    embedding_lr: float = Field(gt=0)
    """Peak learning rate of the token embedding."""
    character_features: list[Literal["radical", "rhyme", "tone"]]
    """Properties by which characters share what they learn. A step also moves the embeddings and
    output weights of all characters that have the same radical, rhyme group or tone. `[]` for
    none."""
    muon_lr: float = Field(gt=0)
    """Peak learning rate of Muon; unused if `optimizer` is `adamw`."""
    muon_momentum: float = Field(ge=0, lt=1)
    """Decay rate of Muon's average of gradients."""
    beta1: float = Field(ge=0, lt=1)
    """Decay rate of AdamW's average of gradients."""
    beta2: float = Field(ge=0, lt=1)
    """Decay rate of AdamW's average of squared gradients."""
    weight_decay: float = Field(ge=0)
    """Decoupled weight decay; a step applies it times the learning rate."""
    warmup_steps: int = Field(ge=0)
    """Steps in which the learning rates rise linearly to their peaks."""
    decay: float = Field(ge=0, le=1)
    """Share of `max_steps`, at the end, in which the learning rates fall linearly to zero."""
    eval_every: int = Field(ge=1)
    """Steps between two evaluations: the validation loss, and a sample for each prompt."""
    eval_windows: int = Field(ge=1)
    """Validation windows per evaluation, spread evenly over the validation part."""
    sample_prompts: list[Annotated[str, Field(pattern=r"^[^\s'\"]*$")]] = Field(min_length=1)
    """Beginnings of the samples, without spaces and quotes; `""` lets the model begin."""
    sample_length: int = Field(ge=1)
    """Most characters that a sample gets after its prompt."""
    checkpoint_every: int = Field(ge=1)
    """Steps between two saved states, from which an interrupted training resumes."""
    torchrun: str = Field(pattern=_TORCHRUN)
    """Options for `torchrun`, such as `--standalone --nproc-per-node 2`, to train with several
    processes; empty for one process. Batches and their order stay the same (docs/scaling.md)."""
    device: Literal["auto", "cpu", "cuda", "mps"]
    """Device to train on; `auto` takes the first of cuda, mps and cpu that is there."""
    precision: Literal["auto", "fp32", "bf16"]
    """Precision of matmuls; `auto` takes bf16 if the hardware has instructions for it."""
    compile: Literal["auto", "on", "off"]
    """Compilation of the training step with `torch.compile`; `auto` does so if it works here
    and the training takes minutes."""
    seed: int = Field(ge=0, lt=2**32)
    """Random seed of the initial weights, the batches, dropout and the samples."""


class BaselineParams(_Section):
    """The n-gram model to compare with."""

    order: int = Field(ge=1, le=8)
    """Number n of characters in the longest n-gram."""


class EvaluateParams(_Section):
    """The evaluation of the trained model on the validation part and of its poems."""

    context: int = Field(ge=0)
    """Fewest characters of context for a scored character, except at the very beginning; less than
    `pretrain.block_size`."""
    batch_size: int = Field(ge=1)
    """Windows per forward pass."""
    sample_count: int = Field(ge=1)
    """Number of poems to write, and of validation and n-gram poems to judge beside them."""
    sample_length: int = Field(ge=1)
    """Most characters of a poem; longer ones are cut."""
    device: Literal["auto", "cpu", "cuda", "mps"]
    """Device to compute on, as `pretrain.device`."""
    precision: Literal["auto", "fp32", "bf16"]
    """Precision of matmuls, as `pretrain.precision`."""
    temperature: float = Field(gt=0)
    """Divisor of the logits before sampling; below 1 favours likely characters."""
    seed: int = Field(ge=0, lt=2**32)
    """Random seed of the samples and of the confidence intervals."""


class Params(_Section):
    """All parameters of params.yaml."""

    fetch: FetchParams
    load: LoadParams
    split: SplitParams
    encode: EncodeParams
    pretrain: PretrainParams
    baseline: BaselineParams
    evaluate: EvaluateParams


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
        siblings = Params.model_fields
        if len(names) > 1:
            section = siblings[names[0]].annotation
            assert isinstance(section, type) and issubclass(section, BaseModel)
            siblings = section.model_fields
        return f"{name} is unknown; known here: {', '.join(siblings)}; rename or remove it"
    value = repr(problem["input"])
    value = value if len(value) <= 80 else value[:77] + "..."
    rule = problem["msg"].removeprefix("Input ").removeprefix("String ")
    if problem["type"] == "model_type":
        rule = "should be a mapping of parameter names to values"
    return f"{name} = {value} is not allowed: it {rule}; change it"


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
    except NanopoetError as error:
        raise SystemExit(f"error: {error}") from None
