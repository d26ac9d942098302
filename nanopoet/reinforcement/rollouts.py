"""Batches of poems that the model writes itself, and what an update learns from each token."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from nanopoet.common.device import Precision, autocast
from nanopoet.common.errors import NanopoetError
from nanopoet.common.types import Array
from nanopoet.corpus.poems import Poem
from nanopoet.models.base import LanguageModel
from nanopoet.ops.linear import packed
from nanopoet.param_sections import PenaltyParams, ReinforceParams
from nanopoet.prosody.faults import Fault, faults
from nanopoet.prosody.forms import regular_style
from nanopoet.reinforcement.returns import advantages, returns
from nanopoet.tokens.batches import Batch, count_characters
from nanopoet.tokens.fields import FIELDS, encode_request
from nanopoet.tokens.tokenizer import BEGIN_ID, PADDING_ID, CharTokenizer


@dataclass
class Rollout:
    """A poem that the model writes.

    Attributes:
        style: the form that is asked for; empty for any.
        request: ids of the request.
        content: ids of the poem, with the token that ends it, unless it was cut.
        found: its faults.
        advantage: of each token of the content, (L,).
    """

    style: str
    request: list[int]
    content: list[int]
    found: Sequence[Fault] = ()
    advantage: Array | None = None


class Rollouts:
    """Batches of poems that the model writes, in groups for one request each.

    Args:
        model: writes the poems, and is trained on them.
        reference: the model near which it stays, on the same device.
        tokenizer: the vocabulary of both.
        poems: the training poems. Those in a regular form give the requests, each form as many.
        params: the recipe.
        precision: of the matmuls.

    Raises:
        NanopoetError: no poem is in a regular form.
    """

    def __init__(
        self,
        model: LanguageModel,
        reference: LanguageModel,
        tokenizer: CharTokenizer,
        poems: Sequence[Poem],
        params: ReinforceParams,
        precision: Precision,
    ) -> None:
        self._model, self._reference, self._tokenizer = model, reference, tokenizer
        by_style: dict[str, list[Poem]] = {}
        for poem in poems:
            if style := regular_style(poem["content"]):
                by_style.setdefault(style, []).append(Poem(**poem | {"style": style}))
        if not by_style:
            raise NanopoetError(
                "data/train.jsonl: no poem is in a regular form, which the stage reinforce asks "
                "for; use a corpus with regular verse, or stop at finetune"
            )
        self._by_style = list(by_style.values())
        self._params, self._precision = params, precision

    def __call__(self, step: int, rng: np.random.Generator) -> Batch:
        """Write the poems of an update, judge them, and return them as rows."""
        del step  # the random numbers differ from step to step
        size, groups = self._params.group_size, []
        for _ in range(self._params.batch_size // size):
            style, request = self._draw_request(rng)
            groups.append([Rollout(style, request, []) for _ in range(size)])
        rollouts = [rollout for group in groups for rollout in group]
        self._write(rollouts, int(rng.integers(2**63)))
        for group in groups:
            self._judge(group)
        inputs, targets, gains = _rows(rollouts)
        reference = self._score(inputs, targets)
        kl_weights = np.full_like(reference, self._params.kl_weight)
        figures = reward_figures([r.found for r in rollouts], self._params.penalties) | {
            "length": fmean(len(rollout.content) for rollout in rollouts),
            "loss_reference": float(reference.sum() / count_characters(targets)),
        }
        return Batch(inputs, targets, (gains, reference, kl_weights), figures)

    def _draw_request(self, rng: np.random.Generator) -> tuple[str, list[int]]:
        """Draw a form, a training poem in it, and which of its fields are left out."""
        poems = self._by_style[rng.integers(len(self._by_style))]
        poem = poems[rng.integers(len(poems))]
        kept = rng.random(len(FIELDS)) >= self._params.field_dropout
        fields = {
            name: poem[name]  # type: ignore[literal-required]
            for name, keep in zip(FIELDS, kept, strict=True)
            if keep
        }
        space = self._model.block_size - len(poem["content"])
        # A long title would leave no space for the poem.
        for asked in (fields, fields | {"title": ""}):
            if len(request := encode_request(self._tokenizer, **asked)) <= space:
                return asked.get("style", ""), request
        return "", encode_request(self._tokenizer)

    def _write(self, rollouts: Sequence[Rollout], seed: int) -> None:
        """Write all poems together."""
        device = self._model.token_embedding.weight.device
        generator = torch.Generator(device).manual_seed(seed)
        begin = torch.tensor([[rollout.request[0]] for rollout in rollouts], device=device)
        rest = [torch.tensor(rollout.request[1:], device=device) for rollout in rollouts]
        forced = pad_sequence(rest, batch_first=True, padding_value=PADDING_ID)
        length = min(self._params.sample_length + forced.shape[1], self._model.block_size)
        with packed(self._model), autocast(device, self._precision):
            ids = self._model.generate(
                begin, length, generator=generator, stop_id=self._model.stop_id, forced=forced
            )
        for rollout, row in zip(rollouts, ids.tolist(), strict=True):
            content = row[len(rollout.request) :][: self._params.sample_length]
            if self._model.stop_id in content:
                content = content[: content.index(self._model.stop_id) + 1]
            rollout.content = content

    def _judge(self, group: Sequence[Rollout]) -> None:
        """Find the faults of poems for one request, and compare what their tokens earn."""
        params = self._params
        for rollout in group:
            text = self._tokenizer.decode_poem([BEGIN_ID, *rollout.content])
            rollout.found = list(faults(text, rollout.style))
        earned = [
            returns(each.found, len(each.content), params.penalties, params.discount)
            for each in group
        ]
        for rollout, advantage in zip(group, advantages(earned), strict=True):
            rollout.advantage = advantage

    @torch.no_grad()
    def _score(self, inputs: Array, targets: Array) -> Array:
        """Compute the cross-entropy of targets under the reference, (B, T), 0 for PADDING."""
        device = self._model.token_embedding.weight.device
        with packed(self._reference), autocast(device, self._precision):
            losses = self._reference.token_losses(
                torch.from_numpy(inputs).to(device), torch.from_numpy(targets).to(device)
            )
        return losses.cpu().numpy()


def reward_figures(poems: Sequence[Sequence[Fault]], penalties: PenaltyParams) -> dict[str, float]:
    """Compute the mean reward of poems, and the part of each rule.

    Args:
        poems: the faults of each poem.
        penalties: of each fault.
    """
    rules = [fault.rule for found in poems for fault in found]
    parts = {
        f"reward_{rule}": 0.0 - penalty * rules.count(rule) / len(poems)  # type: ignore[arg-type]
        for rule, penalty in penalties.model_dump().items()
    }
    return {"reward": sum(parts.values()), **parts}


def _rows(rollouts: Sequence[Rollout]) -> tuple[Array, Array, Array]:
    """Lay poems out as rows, one each: inputs, targets and advantages, (B, T)."""
    size = max(len(rollout.request) + len(rollout.content) for rollout in rollouts) - 1
    inputs = np.full((len(rollouts), size), PADDING_ID, dtype=np.int64)
    targets = np.full_like(inputs, PADDING_ID)
    gains = np.zeros(inputs.shape, dtype=np.float32)
    for row, rollout in enumerate(rollouts):
        end = len(rollout.request) + len(rollout.content) - 1
        inputs[row, :end] = [*rollout.request, *rollout.content][:-1]
        content = slice(len(rollout.request) - 1, end)
        targets[row, content], gains[row, content] = rollout.content, rollout.advantage
    return inputs, targets, gains
