"""Batches of poems that the model writes itself, and what it should have written."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from nanopoet.common.device import Precision, autocast
from nanopoet.common.errors import NanopoetError
from nanopoet.common.types import Array
from nanopoet.corpus.poems import Poem
from nanopoet.evaluation.variety import distinct_pairs
from nanopoet.models.base import LanguageModel
from nanopoet.ops.linear import packed
from nanopoet.param_sections import PenaltyParams, ReinforceParams
from nanopoet.prosody.forms import regular_style
from nanopoet.reinforcement.judge import Judge, Rule
from nanopoet.tokens.batches import Batch, count_characters
from nanopoet.tokens.fields import FIELDS, encode_request
from nanopoet.tokens.tokenizer import PADDING_ID, CharTokenizer


@dataclass
class Rollout:
    """A poem that the model writes.

    Attributes:
        style: the form that is asked for; empty for none.
        request: ids of the request.
        content: ids of the poem, with the token that ends it, unless it was cut.
    """

    style: str
    request: list[int]
    content: list[int]

    @property
    def places(self) -> slice:
        """Places of a row at which the content is the target."""
        return slice(len(self.request) - 1, len(self.request) - 1 + len(self.content))


class Rollouts:
    """Batches of poems that the model writes, each for a request of its own.

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
        self._judge = Judge(tokenizer)

    def __call__(self, step: int, rng: np.random.Generator) -> Batch:
        """Write the poems of an update, judge them, and return them as rows."""
        del step  # the random numbers differ from step to step
        rollouts = self._draw_requests(rng)
        self._write(rollouts, int(rng.integers(2**63)))
        inputs, targets = _rows(rollouts)
        wanted = self._reference_logits(inputs, rollouts)
        reference_loss, found = 0.0, []
        for row, rollout in zip(wanted, rollouts, strict=True):
            logits = row[rollout.places]
            reference_loss += F.cross_entropy(
                logits, torch.tensor(rollout.content), reduction="sum"
            ).item()
            penalties, broken = self._penalties(rollout)
            logits -= penalties / self._params.kl_weight
            found.append(broken)
        texts = [self._tokenizer.decode_poem(r.request + r.content) for r in rollouts]
        figures = reward_figures(found, self._params.penalties) | {
            "length": fmean(map(len, texts)),
            "distinct_2": distinct_pairs(texts) or 0.0,
            "loss_reference": reference_loss / count_characters(targets),
        }
        return Batch(inputs, targets, wanted.numpy(), figures)

    def _draw_requests(self, rng: np.random.Generator) -> list[Rollout]:
        """Draw what is asked for in an update."""
        return [self._draw_request(rng) for _ in range(self._params.batch_size)]

    def _draw_request(self, rng: np.random.Generator) -> Rollout:
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
                return Rollout(asked.get("style", ""), request, [])
        return Rollout("", encode_request(self._tokenizer), [])

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

    @torch.no_grad()
    def _reference_logits(self, inputs: Array, rollouts: Sequence[Rollout]) -> Tensor:
        """Compute the logits of the reference for ids (B, T) → (B, T, V), fp32, on the CPU.

        Only the places of the contents are filled.
        """
        device = self._reference.token_embedding.weight.device
        with packed(self._reference), autocast(device, self._precision):
            hidden = self._reference.hidden(torch.from_numpy(inputs).to(device))
            logits = torch.empty(*inputs.shape, self._tokenizer.vocab_size)
            for row, filled, rollout in zip(hidden, logits, rollouts, strict=True):
                filled[rollout.places] = self._reference.lm_head(row[rollout.places])
        return logits

    def _penalties(self, rollout: Rollout) -> tuple[Tensor, list[Rule]]:
        """Compute what each token would cost at each place, (L, V), and the rules broken."""
        content, costs = rollout.content, self._params.penalties.model_dump()
        penalties = torch.zeros(len(content), self._tokenizer.vocab_size)
        broken = []
        for rule, place, tokens in self._judge.breaches(content, rollout.style):
            penalties[place].add_(tokens, alpha=costs[rule])
            if tokens[content[place]]:
                broken.append(rule)
        return penalties, broken


def reward_figures(poems: Sequence[Sequence[Rule]], penalties: PenaltyParams) -> dict[str, float]:
    """Compute the mean reward of poems, and the part of each rule.

    Args:
        poems: the rules that each poem breaks, as often as it breaks them.
        penalties: of each fault.
    """
    rules = [rule for broken in poems for rule in broken]
    parts = {
        f"reward_{rule}": 0.0 - penalty * rules.count(rule) / len(poems)  # type: ignore[arg-type]
        for rule, penalty in penalties.model_dump().items()
    }
    return {"reward": sum(parts.values()), **parts}


def _rows(rollouts: Sequence[Rollout]) -> tuple[Array, Array]:
    """Lay poems out as rows, one each: inputs and targets, (B, T)."""
    size = max(rollout.places.stop for rollout in rollouts)
    inputs = np.full((len(rollouts), size), PADDING_ID, dtype=np.int64)
    targets = np.full_like(inputs, PADDING_ID)
    for row, rollout in enumerate(rollouts):
        inputs[row, : rollout.places.stop] = [*rollout.request, *rollout.content][:-1]
        targets[row, rollout.places] = rollout.content
    return inputs, targets
