"""params.yaml, typed and checked: one class per section, one section per stage."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from nanopoet.common.errors import NanopoetError


class _Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class FetchParams(_Section):
    package: str = Field(pattern=r"^(@[a-z0-9._-]+/)?[a-z0-9][a-z0-9._-]*$")
    """Name of the corpus package on the npm registry."""
    version: str = Field(pattern=r"^[0-9]+\.[0-9]+\.[0-9]+[0-9A-Za-z.+-]*$")
    """Exact version of that package."""
    integrity: str = Field(pattern=r"^sha512-[A-Za-z0-9+/]{86}==$")
    """Digest of the archive, in the registry's own notation: sha512, base64."""


class LoadParams(_Section):
    source: str = Field(min_length=1)
    """The corpus: the fetched archive, a `.jsonl` of your own, or a folder laid out like the
    collection."""


class SplitParams(_Section):
    val_every: int = Field(ge=2)
    """Of the poems sorted by style, every n-th goes to validation, the first one included."""
    duplicates: Literal["ignore", "together"]
    """Poems whose text recurs, exactly or nearly: `ignore` leaves them where `val_every` puts them,
    `together` moves validation poems that have a duplicate in the training part there."""


class EncodeParams(_Section):
    separators: bool
    """Whether BEGIN stands before each poem, so that a model learns where poems begin and end."""


_OPTIONS = "standalone|nproc-per-node|nnodes|node-rank|master-addr|master-port"
_OPTIONS += "|rdzv-backend|rdzv-endpoint|rdzv-id"
_TORCHRUN = rf"^( *--({_OPTIONS})( [A-Za-z0-9_.:-]*[A-Za-z0-9_.:])?)*$"
"""Nothing but numbers of processes and where they meet: `torchrun` could start any program."""


class PretrainParams(_Section):
    architecture: Literal["classic", "modern"]
    """`classic` is the seed's GPT, `modern` one with RoPE, RMSNorm and SwiGLU."""
    emb_size: int = Field(ge=1)
    """Width C of the residual stream."""
    block_size: int = Field(ge=1)
    """Length T of a training window, in tokens, and the longest context the model sees."""
    layer_num: int = Field(ge=1)
    """Number of transformer blocks."""
    head_num: int = Field(ge=1)
    """Attention heads per block; divides `emb_size`."""
    kv_head_num: int = Field(ge=1)
    """Heads of keys and values per `modern` block; divides `head_num`, so that each serves as many
    heads. Fewer are less to read when poems are written; `classic` has `head_num`."""
    previous_token_heads: list[Annotated[int, Field(ge=1)]]
    """How many tokens back the first heads of a `modern` model's first block look to begin with,
    each its own; [] where no head is to look anywhere."""
    mlp_size: int = Field(ge=1)
    """Width inside the MLP of a `modern` block; in `classic` it is four times `emb_size`."""
    dropout: float = Field(ge=0, lt=1)
    """Probability that an activation is zeroed during training."""
    max_steps: int = Field(ge=1)
    """Number of optimiser updates."""
    batch_size: int = Field(ge=1)
    """Windows per update."""
    windows: Literal["random", "epochs"]
    """Where training windows lie: `random` anywhere, each draw for itself; `epochs` side by side
    and each once in an epoch, a batch being from all over the training part."""
    micro_batch_size: int = Field(ge=1)
    """Windows per forward pass; their gradients add up to one update. It bounds memory and
    leaves the mathematics as they are."""
    activation_checkpointing: bool
    """Whether what a block computes inside is computed again on the way back instead of kept:
    less memory, about a third more time, the same mathematics."""
    optimizer: Literal["adamw", "muon"]
    """`adamw` for everything, or `muon` for the matrices of the blocks and AdamW for the rest."""
    lr: float = Field(gt=0)
    """Full learning rate of AdamW, except for the token embedding."""
    embedding_lr: float = Field(gt=0)
    """Full learning rate of the token embedding."""
    character_features: list[Literal["radical", "rhyme", "tone"]]
    """What characters may have in common. Those that do learn from one another: the mean of their
    features is updated, with the rate of the embedding or of the output layer, beside each one's
    own row there; [] for each on its own."""
    muon_lr: float = Field(gt=0)
    """Full learning rate of Muon; without effect if `optimizer` is adamw."""
    muon_momentum: float = Field(ge=0, lt=1)
    """Decay of Muon's average of gradients."""
    beta1: float = Field(ge=0, lt=1)
    """Decay of AdamW's average of gradients."""
    beta2: float = Field(ge=0, lt=1)
    """Decay of AdamW's average of squared gradients."""
    weight_decay: float = Field(ge=0)
    """Decoupled weight decay, times the learning rate at each update."""
    warmup_steps: int = Field(ge=0)
    """Updates in which the learning rates rise to the full ones."""
    decay: float = Field(ge=0, le=1)
    """Share of `max_steps`, at the end, in which the learning rates fall linearly to zero."""
    eval_every: int = Field(ge=1)
    """Steps between two looks at the validation loss and a sample."""
    eval_windows: int = Field(ge=1)
    """Validation windows, spread evenly, that such a look scores."""
    sample_prompts: list[Annotated[str, Field(pattern=r"^[^\s'\"]*$")]] = Field(min_length=1)
    """What the samples at such a look begin with, without spaces and quotes; '' is nothing."""
    sample_length: int = Field(ge=1)
    """Most characters that such a sample gets beyond its prompt."""
    checkpoint_every: int = Field(ge=1)
    """Steps between two savings of the training's state, from which it goes on if it is
    interrupted."""
    torchrun: str = Field(pattern=_TORCHRUN)
    """Options with which `torchrun` starts several processes, such as
    `--standalone --nproc-per-node 2`; empty for one process without it. Batch and order of the
    data stay the same (docs/scaling.md)."""
    device: Literal["auto", "cpu", "cuda", "mps"]
    """Where to train; `auto` takes cuda, then mps, then cpu."""
    precision: Literal["auto", "fp32", "bf16"]
    """Arithmetic of the matrix products; `auto` takes bf16 where the hardware multiplies it."""
    compile: Literal["auto", "on", "off"]
    """Whether torch's compiler makes machine code of the training step; `auto` does where it can
    and the training is minutes long."""
    seed: int = Field(ge=0, lt=2**32)
    """Initial weights, batches, dropout and samples all follow from it."""


class BaselineParams(_Section):
    order: int = Field(ge=1, le=8)
    """Characters in the longest n-gram of the model by counting."""


class EvaluateParams(_Section):
    context: int = Field(ge=0)
    """Characters of context that every scored character has at least, except at the very
    beginning; less than `pretrain.block_size`."""
    batch_size: int = Field(ge=1)
    """Windows per forward pass."""
    sample_count: int = Field(ge=1)
    """Number of poems to write, and of validation poems and n-gram poems to judge beside them."""
    sample_length: int = Field(ge=1)
    """Characters per poem at most; a longer one is cut."""
    device: Literal["auto", "cpu", "cuda", "mps"]
    """Where to compute; as `pretrain.device`."""
    precision: Literal["auto", "fp32", "bf16"]
    """Arithmetic of the matrix products; as `pretrain.precision`."""
    temperature: float = Field(gt=0)
    """Divides the logits before sampling: below 1 plays safe, above 1 takes risks."""
    seed: int = Field(ge=0, lt=2**32)
    """The samples and the intervals follow from it."""


class Params(_Section):
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
        NanopoetError: the file is missing or no YAML, or a parameter is unknown,
            missing, of the wrong type, out of range or at odds with another.
    """
    return check_params(read_yaml(path), path)


def read_yaml(path: str | Path) -> Any:
    """Read YAML with the parser that DVC uses, so that both see the same values.

    `3e-4` is a number to both.

    Raises:
        NanopoetError: the file is missing or no YAML.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NanopoetError(
            f"{path}: no such file; run from the repository root or restore it with "
            f"`git checkout {path}`"
        ) from None
    except UnicodeDecodeError as error:
        raise NanopoetError(
            f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8"
        ) from None
    return parse_yaml(text, path)


def parse_yaml(text: str, name: str | Path) -> Any:
    """Parse YAML; `name` says in errors where it comes from.

    Raises:
        NanopoetError: it is none.
    """
    try:
        return YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else "?"
        raise NanopoetError(f"{name}:{line}: not valid YAML: {error.problem}; mend it") from None
    except YAMLError as error:
        raise NanopoetError(f"{name}: not valid YAML: {str(error).splitlines()[0]}") from None


def check_params(raw: Any, path: str | Path) -> Params:
    """Check what a parameter file holds; `path` names it in errors.

    Raises:
        NanopoetError: a parameter is unknown, missing, of the wrong type, out of range or at
            odds with another.
    """
    try:
        params = Params.model_validate(raw)
    except ValidationError as error:
        # A misspelt name is unknown and leaves the right one missing: the first tells more.
        problems = error.errors(include_url=False)
        problems.sort(key=lambda problem: problem["type"] != "extra_forbidden")
        more = f" ({len(problems) - 1} more after this one)" if len(problems) > 1 else ""
        raise NanopoetError(f"{path}: {_explain(problems[0])}{more}") from None
    _check_relations(params, path)
    return params


def _explain(problem: ErrorDetails) -> str:
    """One line for one of pydantic's findings: the parameter, its value, what is allowed."""
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


def _check_relations(params: Params, path: str | Path) -> None:
    pretrain, evaluate = params.pretrain, params.evaluate
    if pretrain.emb_size % pretrain.head_num:
        raise NanopoetError(
            f"{path}: pretrain.head_num = {pretrain.head_num} does not divide "
            f"pretrain.emb_size = {pretrain.emb_size}; every head needs the same whole number of "
            f"channels, change one of the two"
        )
    if pretrain.architecture == "modern" and pretrain.head_num % pretrain.kv_head_num:
        raise NanopoetError(
            f"{path}: pretrain.kv_head_num = {pretrain.kv_head_num} does not divide "
            f"pretrain.head_num = {pretrain.head_num}; every head of keys and values serves the "
            f"same number of heads, change one of the two"
        )
    if pretrain.architecture == "modern" and (
        len(pretrain.previous_token_heads) > pretrain.head_num
        or max(pretrain.previous_token_heads, default=0) >= pretrain.block_size
    ):
        raise NanopoetError(
            f"{path}: pretrain.previous_token_heads = {pretrain.previous_token_heads} is not "
            f"allowed: at most pretrain.head_num = {pretrain.head_num} numbers, each below "
            f"pretrain.block_size = {pretrain.block_size}; change it"
        )
    if pretrain.architecture == "modern" and pretrain.emb_size // pretrain.head_num % 2:
        raise NanopoetError(
            f"{path}: pretrain.head_num = {pretrain.head_num} gives a head of pretrain.emb_size = "
            f"{pretrain.emb_size} an odd width; rotary positions turn channels in pairs, change "
            f"one of the two"
        )
    if pretrain.batch_size % pretrain.micro_batch_size:
        raise NanopoetError(
            f"{path}: pretrain.micro_batch_size = {pretrain.micro_batch_size} does not divide "
            f"pretrain.batch_size = {pretrain.batch_size}; change one of the two"
        )
    if evaluate.context >= pretrain.block_size:
        raise NanopoetError(
            f"{path}: evaluate.context = {evaluate.context} is not below pretrain.block_size = "
            f"{pretrain.block_size}; a window holds the context and at least one character more"
        )


if __name__ == "__main__":
    try:
        load_params()
    except NanopoetError as error:
        raise SystemExit(f"error: {error}") from None
