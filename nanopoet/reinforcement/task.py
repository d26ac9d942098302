"""The task to write by the rules."""

from collections.abc import Sequence
from copy import deepcopy

from nanopoet.common.device import Precision
from nanopoet.corpus.poems import Poem
from nanopoet.models.base import LanguageModel
from nanopoet.param_sections import ReinforceParams
from nanopoet.reinforcement.rollouts import Rollouts
from nanopoet.tokens.fields import FieldPoems, field_windows
from nanopoet.tokens.tokenizer import CharTokenizer
from nanopoet.training.task import Task, encode_samples


def reinforcing(
    model: LanguageModel,
    train: Sequence[Poem],
    val: FieldPoems,
    tokenizer: CharTokenizer,
    params: ReinforceParams,
    precision: Precision,
    batches: type[Rollouts] = Rollouts,
) -> Task:
    """Return the task to write poems by the rules of regular verse.

    A copy of the model, as it is now, becomes the reference near which it stays. The embedding is
    not trained: the few poems of an update say little of a rare character.

    Args:
        model: takes fields; on the device on which it is trained.
        train: the training poems, whose fields are asked for.
        val: the validation poems.
        tokenizer: the vocabulary.
        params: the recipe.
        precision: of the matmuls.
        batches: makes the batches.

    Raises:
        NanopoetError: no training poem is in a regular form.
    """
    reference = deepcopy(model).eval().requires_grad_(False)
    model.token_embedding.requires_grad_(False)
    return Task(
        "reinforce",
        batches(model, reference, tokenizer, train, params, precision),
        field_windows(val, model.block_size, params.eval_windows),
        encode_samples(tokenizer, params.sample_requests),
        model.stop_id,
        params.model_dump_json(),
    )
