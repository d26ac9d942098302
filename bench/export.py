"""A model before and after its export: `python -m bench.export`, after `make repro`.

The validation poems go through nanopoet, `transformers` and llama.cpp, which must tokenize all of
them alike, give a hundred of them the same probabilities, and continue these with the same text.
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
from nanopoet.tokens.tokenizer import BEGIN_ID, CharTokenizer

PROMPT = 5
"""Characters of a poem that are given to be continued."""


@dataclass(frozen=True)
class Sample:
    """What a model makes of some poems, before its export.

    Attributes:
        ids: of each poem, BEGIN first, as far as `block_size` goes.
        logits: (T, V) for each of them.
        written: its first PROMPT characters, continued with the likeliest ones.
    """

    ids: list[list[int]]
    logits: list[Tensor]
    written: list[list[int]]

    @property
    def prompts(self) -> list[list[int]]:
        return [ids[: 1 + PROMPT] for ids in self.ids]


@torch.no_grad()
def compare(
    model: LanguageModel, tokenizer: CharTokenizer, texts: Sequence[str], count: int
) -> dict[str, float]:
    """How far apart a model is from itself after its export.

    Args:
        model: in evaluation mode, on the CPU.
        tokenizer: its vocabulary, which has all characters of the texts.
        texts: to be tokenized.
        count: so many of them, evenly spread, are scored and continued.

    Returns:
        numbers of texts, the largest absolute differences of logits or of log-probabilities;
        what concerns llama.cpp is missing for a model that it does not know.
    """
    chosen = np.linspace(0, len(texts) - 1, count).astype(int)
    ids = [[BEGIN_ID, *tokenizer.encode(texts[i])][: model.block_size] for i in chosen]
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
        begun = ids[: llama.context - 1]  # one more is predicted
        expected = logits[len(begun) - 1].log_softmax(dim=-1).numpy()
        values = llama.log_probabilities(begun, len(expected))
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
    room = model.block_size - len(ids)
    written = model.generate(torch.tensor([ids]), room, temperature=0, stop_id=BEGIN_ID)
    continued: list[int] = written[0].tolist()
    return continued


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="models/poet", help="a model folder")
    parser.add_argument("--poems", default="data/val.jsonl", help="what to compare on")
    parser.add_argument("--count", type=int, default=100, help="how many are scored and continued")
    arguments = parser.parse_args()
    model, tokenizer = load_model(arguments.model)
    texts = [poem["content"] for poem in read_poems(arguments.poems)]
    print(json.dumps(compare(model, tokenizer, texts, arguments.count), indent=2))


if __name__ == "__main__":
    main()
