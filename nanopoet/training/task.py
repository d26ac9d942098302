"""Tasks of training: running text, or poems with their fields."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from nanopoet.common.types import Array
from nanopoet.models.base import LanguageModel
from nanopoet.ops.second_loss import SecondLoss
from nanopoet.param_sections import FinetuneParams, PretrainParams, RequestParams
from nanopoet.tokens.batches import Batches, WindowBatches, check_length, even_windows
from nanopoet.tokens.fields import FieldBatches, FieldPoems, encode_request, field_windows
from nanopoet.tokens.prompts import in_known_script
from nanopoet.tokens.tokenizer import (
    BEGIN_ID,
    CONTENT,
    CONTENT_END_ID,
    SPECIAL_TOKENS,
    CharTokenizer,
)
from nanopoet.training.second_losses import (
    repeat_loss,
    rhyme_distinct_loss,
    rhyme_loss,
    shape_loss,
    title_loss,
)


@dataclass(frozen=True)
class Task:
    """Data of a training, and what the model writes meanwhile.

    Attributes:
        name: of the stage.
        batches: the training batches.
        val_windows: inputs and targets (W, T), of which the validation loss is the mean.
        prompts: name → ids with which a sample begins.
        stop_id: the token that ends a sample.
        options: parameters that decide the data besides those of the trainer, as text.
        second_losses_end: the step from which the model's second losses no longer count, if any.
    """

    name: str
    batches: Batches
    val_windows: tuple[Array, Array]
    prompts: Mapping[str, Sequence[int]]
    stop_id: int
    options: str = ""
    second_losses_end: int | None = None


def pretraining(
    train_tokens: Array, val_tokens: Array, tokenizer: CharTokenizer, params: PretrainParams
) -> Task:
    """Return the task to predict the next character of poems that follow one another.

    Args:
        train_tokens: (n,) ids; more than `block_size` of them.
        val_tokens: (m,) ids; more than `block_size` of them.
        tokenizer: encodes the prompts.
        params: the recipe.

    Raises:
        NanopoetError: a part is too short.
    """
    check_length(val_tokens, params.block_size, "validation")
    size = params.block_size, params.batch_size
    return Task(
        "pretrain",
        WindowBatches(train_tokens, *size, windows=params.windows, seed=params.seed),
        even_windows(val_tokens, params.block_size, params.eval_windows),
        {
            prompt: [BEGIN_ID, *tokenizer.encode(in_known_script(prompt, tokenizer))]
            for prompt in params.sample_prompts
        },
        BEGIN_ID,
        second_losses_end=round(params.max_steps * (1 - params.decay)),
    )


def take_fields(model: LanguageModel, tokenizer: CharTokenizer, params: FinetuneParams) -> None:
    """Make a pretrained model one that takes fields, before it is finetuned.

    Second losses ask where a line ends, with which mark and in which rhyme, and which characters of
    the title and of the poem come back, above all as rhymes.

    BEGIN begins a poem and ends the one before. No training text has the other special tokens. So
    CONTENT starts as a copy of BEGIN where poems begin, and CONTENT_END where they end.

    Args:
        model: is changed in place.
        tokenizer: its vocabulary.
        params: the weights of the second losses; 0 leaves one out.
    """
    model.takes_fields = True
    losses: Sequence[tuple[Callable[[CharTokenizer, float], SecondLoss], float]] = (
        (shape_loss, params.shape_weight),
        (rhyme_loss, params.rhyme_weight),
        (rhyme_distinct_loss, params.rhyme_distinct_weight),
        (title_loss, params.title_weight),
        (repeat_loss, params.repeat_weight),
    )
    for make, weight in losses:
        if weight > 0:
            model.second_losses.append(make(tokenizer, weight))
    content = SPECIAL_TOKENS.index(CONTENT)
    with torch.no_grad():
        model.token_embedding.weight[content] = model.token_embedding.weight[BEGIN_ID]
        for parameter in model.lm_head.parameters():
            parameter[CONTENT_END_ID] = parameter[BEGIN_ID]


def finetuning(
    train: FieldPoems,
    val: FieldPoems,
    tokenizer: CharTokenizer,
    block_size: int,
    params: FinetuneParams,
) -> Task:
    """Return the task to write the poem of an author, a style and a title.

    Args:
        train: the training poems.
        val: the validation poems.
        tokenizer: encodes the requests.
        block_size: T of the model.
        params: the recipe.
    """
    return Task(
        "finetune",
        FieldBatches(
            train,
            block_size,
            params.batch_size,
            field_dropout=params.field_dropout,
            content_only=params.loss_on == "content",
            seed=params.seed,
        ),
        field_windows(val, block_size, params.eval_windows),
        encode_samples(tokenizer, params.sample_requests),
        CONTENT_END_ID,
        params.model_dump_json(),
    )


def encode_samples(
    tokenizer: CharTokenizer, requests: Sequence[RequestParams]
) -> dict[str, list[int]]:
    """Return the ids of each request, by its words."""
    return {
        " ".join(filter(None, fields.values())): encode_request(tokenizer, **fields)
        for fields in (request.model_dump() for request in requests)
    }
