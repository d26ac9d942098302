"""A model before and after its export: `python -m bench.export`, after `make repro`.

nanopoet, `transformers` and llama.cpp tokenize the validation poems. For a hundred of them they
also compute probabilities and continue the text. All results must be the same.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from bench.llama import LlamaCpp
from nanopoet.corpus.poems import read_poems
from nanopoet.export.gguf import export_gguf
from nanopoet.export.huggingface import export_huggingface
from nanopoet.models.base import LanguageModel
from nanopoet.models.checkpoint import load_model
from nanopoet.models.qwen3 import Qwen3LanguageModel
from nanopoet.ops.linear import packed
from nanopoet.tokens.tokenizer import BEGIN_ID, CharTokenizer

PROMPT = 5
"""Characters of a poem that the models continue."""


@dataclass(frozen=True)
class Sample:
    """Results of a model on some poems before its export.

    Attributes:
        ids: BEGIN and the ids of each poem, at most `block_size`.
        logits: (T, V) of each poem.
        written: the first PROMPT characters of each poem, continued with the likeliest ids.
    """

    ids: list[list[int]]
    logits: list[Tensor]
    written: list[list[int]]

    @property
    def prompts(self) -> list[list[int]]:
        """BEGIN and the first PROMPT ids of each poem."""
        return [ids[: 1 + PROMPT] for ids in self.ids]


@torch.no_grad()
def compare(
    model: LanguageModel, tokenizer: CharTokenizer, texts: Sequence[str], count: int
) -> dict[str, float]:
    """Compare a model with its exports.

    Args:
        model: in evaluation mode, on the CPU.
        tokenizer: has all characters of the texts.
        texts: tokenized by each program.
        count: number of texts, evenly spread, that are scored and continued.

    Returns:
        numbers of texts, and the largest absolute differences of logits or log-probabilities. The
        figures of llama.cpp are missing for an architecture that it does not know.
    """
    chosen = np.linspace(0, len(texts) - 1, count).astype(int)
    ids = [[BEGIN_ID, *tokenizer.encode(texts[i])][: model.block_size] for i in chosen]
    with packed(model):
        logits = [model(torch.tensor([each]))[0][0] for each in ids]
        sample = Sample(ids, logits, [_write(model, each[: 1 + PROMPT]) for each in ids])
    encoded = [tokenizer.encode(text) for text in texts]
    figures: dict[str, float] = {"poems": len(texts), "poems_scored": count}
    with TemporaryDirectory() as name:
        folder, file = Path(name) / "hf", Path(name) / "poet.gguf"
        export_huggingface(model, tokenizer, folder)
        figures |= _in_transformers(folder, texts, encoded, sample)
        if isinstance(model, Qwen3LanguageModel):
            export_gguf(model, tokenizer, file)
            figures |= _in_llama_cpp(LlamaCpp(file, model.block_size), texts, encoded, sample)
    return figures


def _in_transformers(
    folder: Path, texts: Sequence[str], encoded: list[list[int]], sample: Sample
) -> dict[str, float]:
    model = AutoModelForCausalLM.from_pretrained(folder)
    words = AutoTokenizer.from_pretrained(folder, model_max_length=None)
    read = words(list(texts), add_special_tokens=False)["input_ids"]
    logits = [model(torch.tensor([ids])).logits[0] for ids in sample.ids]
    written = [
        model.generate(torch.tensor([ids]), do_sample=False)[0].tolist() for ids in sample.prompts
    ]
    pairs = zip(logits, sample.logits, strict=True)
    return {
        "transformers_tokenized_alike": _alike(read, encoded),
        "transformers_logit_difference": max(float((a - b).abs().max()) for a, b in pairs),
        "transformers_written_alike": _alike(written, sample.written),
    }


def _in_llama_cpp(
    llama: LlamaCpp, texts: Sequence[str], encoded: list[list[int]], sample: Sample
) -> dict[str, float]:
    differences = []
    for ids, logits in zip(sample.ids, sample.logits, strict=True):
        context = ids[: llama.context - 1]  # the predicted token takes the last place
        expected = logits[len(context) - 1].log_softmax(dim=-1).numpy()
        values = llama.log_probabilities(context, len(expected))
        differences.append(float(np.abs(values - expected).max()))
    written = [ids + llama.write(ids, llama.context - len(ids)) for ids in sample.prompts]
    return {
        "llama_cpp_tokenized_alike": _alike([llama.encode(text) for text in texts], encoded),
        "llama_cpp_log_probability_difference": max(differences),
        "llama_cpp_written_alike": _alike(written, sample.written),
    }


def _alike(found: list[list[int]], expected: list[list[int]]) -> int:
    return sum(a == b for a, b in zip(found, expected, strict=True))


def _write(model: LanguageModel, ids: list[int]) -> list[int]:
    count = model.block_size - len(ids)
    written = model.generate(torch.tensor([ids]), count, temperature=0, stop_id=BEGIN_ID)
    continued: list[int] = written[0].tolist()
    return continued


def main() -> None:
    """Print the figures of a model folder as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="models/poet", help="a model folder")
    parser.add_argument("--poems", default="data/val.jsonl", help="poems to compare on")
    parser.add_argument("--count", type=int, default=100, help="poems to score and continue")
    arguments = parser.parse_args()
    model, tokenizer = load_model(arguments.model)
    texts = [poem["content"] for poem in read_poems(arguments.poems)]
    print(json.dumps(compare(model, tokenizer, texts, arguments.count), indent=2))


if __name__ == "__main__":
    main()
