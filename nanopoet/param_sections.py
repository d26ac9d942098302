"""The parameters of params.yaml: one class per section, one section per stage.

The text under each parameter says what it means; its type and limits are checked when it is read.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Size = Annotated[int, Field(ge=1, le=10**6)]
Steps = Annotated[int, Field(ge=1, le=10**9)]
Weight = Annotated[float, Field(ge=0, le=1e30)]
Positive = Annotated[float, Field(gt=0, le=1e30)]


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

    val_every: int = Field(ge=2, le=10**9)
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
    emb_size: Size
    """Width C of the residual stream."""
    block_size: Size
    """Length T of a training window in tokens, and the longest context of the model."""
    layer_num: int = Field(ge=1, le=1000)
    """Number of transformer blocks."""
    head_num: Size
    """Number of attention heads per block; divides `emb_size`."""
    kv_head_num: Size
    """Number of key and value heads per `modern` block; divides `head_num`. Fewer heads make
    single-token decoding faster. `classic` has as many as `head_num`."""
    previous_token_heads: list[Size]
    """Heads in the first block of a `modern` model that begin by attending to an earlier token, as
    distances in tokens: `[1, 2]` is a head for the previous token and one for the token before."""
    initial_weights: Literal["random", "bigrams"]
    """Start of embedding and output layer in a `modern` model: `random`, or the `bigrams` of the
    training part, by which the untrained model predicts a character from the one before."""
    mlp_size: Size
    """Hidden width of the MLP in a `modern` block; `classic` has four times `emb_size`."""
    dropout: float = Field(ge=0, lt=1)
    """Probability of zeroing an activation in training."""
    max_steps: Steps
    """Number of optimizer steps."""
    batch_size: Size
    """Training windows per step."""
    windows: Literal["random", "epochs"]
    """Positions of the training windows. `random` draws each independently. `epochs` lays windows
    side by side, uses each once per epoch, and fills a batch from all over the training part."""
    micro_batch_size: Size
    """Windows per forward pass; divides `batch_size`. The gradients of a step are summed, so a
    smaller value saves memory and does not change the result."""
    activation_checkpointing: bool
    """Recomputation of the activations of a block in the backward pass instead of storing them.
    It saves memory, takes about a third more time, and does not change the result."""
    optimizer: Literal["adamw", "muon"]
    """`adamw` for all weights, or `muon` for the matrices of the blocks and AdamW for the rest."""
    lr: Positive
    """Peak learning rate of AdamW, except for the token embedding."""
    embedding_lr: Positive
    """Peak learning rate of the token embedding."""
    character_features: list[Literal["radical", "rhyme", "tone"]]
    """Properties by which characters share what they learn; `[]` for none. A step also moves the
    embeddings and output weights of all characters with the same radical, rhyme group or tone."""
    feature_lr_factor: float = Field(gt=0, le=1e6)
    """Factor of `lr` and `embedding_lr` for what characters share by `character_features`."""
    rhyme_weight: Weight
    """Weight of a second loss: the rhyme group of a character before the end of a sentence. It
    counts until the learning rates begin to fall."""
    rhyme_distinct_weight: Weight
    """Weight of a second loss: whether a character before the end of a sentence has ended a line of
    the poem before. It counts as long as `rhyme_weight`."""
    muon_lr: Positive
    """Peak learning rate of Muon; unused if `optimizer` is `adamw`."""
    muon_momentum: float = Field(ge=0, lt=1)
    """Decay rate of Muon's average of gradients."""
    beta1: float = Field(ge=0, lt=1)
    """Decay rate of AdamW's average of gradients."""
    beta2: float = Field(ge=0, lt=1)
    """Decay rate of AdamW's average of squared gradients."""
    weight_decay: Weight
    """Decoupled weight decay; a step applies it times the learning rate."""
    warmup_steps: int = Field(ge=0, le=10**9)
    """Steps in which the learning rates rise linearly to their peaks."""
    decay: float = Field(ge=0, le=1)
    """Share of `max_steps`, at the end, in which the learning rates fall linearly to zero."""
    eval_every: Steps
    """Steps between two evaluations: the validation loss, and a sample for each prompt."""
    eval_windows: Size
    """Validation windows per evaluation, spread evenly over the validation part."""
    sample_prompts: list[Annotated[str, Field(pattern=r"^[^\s'\"]*$")]] = Field(min_length=1)
    """Beginnings of the samples, without spaces and quotes; `""` lets the model begin."""
    sample_length: Size
    """Most characters that a sample gets after its prompt."""
    checkpoint_every: Steps
    """Steps between two saved states, from which an interrupted training resumes."""
    log_model_every: int = Field(ge=0, le=10**9)
    """Steps between two models that MLflow gets of a training; 0 for the final model alone."""
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


class RequestParams(_Section):
    """A poem to ask for; an empty field is left out."""

    author: str
    style: str
    title: str


class _FurtherTraining(_Section):
    """Parameters of trainings that go on from another model. Others are as in `pretrain`."""

    max_steps: Steps
    """Number of optimizer steps."""
    lr: Positive
    """As `pretrain.lr`."""
    muon_lr: Positive
    """As `pretrain.muon_lr`."""
    warmup_steps: int = Field(ge=0, le=10**9)
    """As `pretrain.warmup_steps`."""
    decay: float = Field(ge=0, le=1)
    """As `pretrain.decay`."""
    field_dropout: float = Field(ge=0, le=1)
    """Probability to leave out author, style or title, drawn anew for each poem that is seen."""
    eval_every: Steps
    """Steps between two evaluations: the validation loss, and a poem for each request."""
    eval_windows: Size
    """Validation poems per evaluation, spread evenly."""
    sample_requests: list[RequestParams] = Field(min_length=1)
    """Poems to ask for at each evaluation."""
    sample_length: Size
    """Most characters of a poem that the model writes in the training."""
    checkpoint_every: Steps
    """As `pretrain.checkpoint_every`."""
    seed: int = Field(ge=0, lt=2**32)
    """Random seed of the batches, dropout, and the poems that are written."""


class FinetuneParams(_FurtherTraining):
    """The training that goes on from `pretrain`, on poems with author, style and title."""

    loss_on: Literal["all", "content"]
    """Characters that are learned: `all`, or those of the `content` alone."""
    shape_weight: Weight
    """Weight of a second loss: whether a character, which mark, or the end comes next."""
    rhyme_weight: Weight
    """Weight of a second loss: the rhyme group of a character before the end of a sentence."""
    rhyme_distinct_weight: Weight
    """Weight of a second loss: whether such a character has ended a line of the poem before."""
    title_weight: Weight
    """Weight of a second loss: whether a character of the title comes next."""
    repeat_weight: Weight
    """Weight of a second loss: whether a character comes next that the content has before."""
    batch_size: Size
    """Rows per step; each holds whole poems."""
    embedding_lr: Positive
    """As `pretrain.embedding_lr`."""


class PenaltyParams(_Section):
    """Costs of faults. Each is taken off the reward where the fault happens."""

    form: Weight
    """The poem leaves the form that was asked for. No other fault behind it counts."""
    rhyme: Weight
    """The end of an even line does not rhyme with those before it."""
    rhyme_level: Weight
    """The end of the second line, with which the others rhyme, has no level tone."""
    rhyme_distinct: Weight
    """The end of an even line has been the end of one before, or of the first line."""
    tone: Weight
    """A character has the wrong tone for its place."""
    repeat: Weight
    """A character stands in the poem for a second time."""
    unknown: Weight
    """A character has no known reading where rhyme or tone is judged."""


class ReinforceParams(_FurtherTraining):
    """The training that goes on from `finetune`, on its own poems. The step is not compiled."""

    penalties: PenaltyParams
    """Costs of faults against the rules."""
    kl_weight: Positive
    """Weight of the divergence from the finetuned model."""
    batch_size: Size
    """Poems per step."""
    optimizer: Literal["adamw", "muon"]
    """As `pretrain.optimizer`."""
    muon_momentum: float = Field(ge=0, lt=1)
    """As `pretrain.muon_momentum`."""
    feature_lr_factor: float = Field(gt=0, le=1e6)
    """As `pretrain.feature_lr_factor`; the embedding is not trained."""


class BaselineParams(_Section):
    """The n-gram model to compare with."""

    order: int = Field(ge=1, le=8)
    """Number n of characters in the longest n-gram."""


class EvaluateParams(_Section):
    """The evaluation of the trained model on the validation part and of its poems."""

    context: int = Field(ge=0, le=10**6)
    """Fewest characters of context for a scored character, except at the very beginning; less than
    `pretrain.block_size`."""
    batch_size: Size
    """Windows per forward pass."""
    sample_count: Size
    """Number of poems to write, and of validation and n-gram poems to judge beside them."""
    sample_length: Size
    """Most characters of a poem; longer ones are cut."""
    device: Literal["auto", "cpu", "cuda", "mps"]
    """Device to compute on, as `pretrain.device`."""
    precision: Literal["auto", "fp32", "bf16"]
    """Precision of matmuls, as `pretrain.precision`."""
    temperature: Positive
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
    finetune: FinetuneParams
    reinforce: ReinforceParams
    baseline: BaselineParams
    evaluate: EvaluateParams
