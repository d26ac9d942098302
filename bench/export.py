"""A model before and after its export: `python -m bench.export`, after `make repro`.

nanopoet, `transformers` and llama.cpp tokenize the validation poems. For a hundred of them they
also compute probabilities and continue the text. All results must be the same. A finetuned model
(`python -m bench.export models/finetuned`) gets each poem with its author, style and title.
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

from bench import count
from bench.llama import LlamaCpp
from nanopoet.corpus.poems import Poem, read_poems
from nanopoet.export.gguf import export_gguf
from nanopoet.export.huggingface import export_huggingface, request_text
from nanopoet.models.base import LanguageModel
from nanopoet.models.checkpoint import load_model
from nanopoet.models.qwen3 import Qwen3LanguageModel
from nanopoet.ops.linear import packed
from nanopoet.tokens.fields import encode_request
from nanopoet.tokens.tokenizer import BEGIN_ID, CharTokenizer
from stages.runner import run

PROMPT = 5
"""Characters of a poem that the models continue."""


@dataclass(frozen=True)
class Sample:
    """Results of a model on some poems before its export.

    Attributes:
        ids: the ids of each poem and of what stands before it, at most `block_size`.
        logits: (T, V) of each poem.
        prompts: the ids of each poem up to its PROMPT-th character.
        written: the prompts, continued with the likeliest ids.
    """

    ids: list[list[int]]
    logits: list[Tensor]
    prompts: list[list[int]]
    written: list[list[int]]


@torch.no_grad()
def compare(
    model: LanguageModel, tokenizer: CharTokenizer, poems: Sequence[Poem], count: int
) -> dict[str, float]:
    """Compare a model with its exports.

    Args:
        model: in evaluation mode, on the CPU.
        tokenizer: has all characters of the poems.
        poems: tokenized by each program, with their fields if the model takes fields.
        count: number of poems that are scored and continued, evenly spread among those whose
            fields leave space for a poem.

    Returns:
        numbers of poems, and the largest absolute differences of logits or log-probabilities. The
        figures of llama.cpp are missing for an architecture that it does not know.
    """
    before = [_before(model, tokenizer, poem) for poem in poems]
    # A title may be longer than a model can read.
    fitting = [i for i, each in enumerate(before) if len(each) + PROMPT < model.block_size]
    chosen = [fitting[k] for k in np.linspace(0, len(fitting) - 1, count).astype(int)]
    encoded = [
        [*first[1:], *tokenizer.encode(poem["content"])]
        for first, poem in zip(before, poems, strict=True)
    ]
    texts = [
        (request_text(**_fields(p)) if model.takes_fields else "") + p["content"] for p in poems
    ]
    ids = [[BEGIN_ID, *encoded[i]][: model.block_size] for i in chosen]
    prompts = [each[: len(before[i]) + PROMPT] for i, each in zip(chosen, ids, strict=True)]
    with packed(model):
        logits = [model(torch.tensor([each]))[0][0] for each in ids]
        sample = Sample(ids, logits, prompts, [_write(model, prompt) for prompt in prompts])
    figures: dict[str, float] = {"poems": len(poems), "poems_scored": count}
    with TemporaryDirectory() as name:
        folder, file = Path(name) / "hf", Path(name) / "poet.gguf"
        export_huggingface(model, tokenizer, folder)
        figures |= _in_transformers(folder, texts, encoded, sample)
        if isinstance(model, Qwen3LanguageModel):
            export_gguf(model, tokenizer, file)
            llama = LlamaCpp(file, model.block_size)
            with_fields = model.takes_fields
            figures |= _in_llama_cpp(llama, texts, encoded, sample, with_fields=with_fields)
    return figures


def _fields(poem: Poem) -> dict[str, str]:
    return {"author": poem["author"], "style": poem["style"], "title": poem["title"]}


def _before(model: LanguageModel, tokenizer: CharTokenizer, poem: Poem) -> list[int]:
    return encode_request(tokenizer, **_fields(poem)) if model.takes_fields else [BEGIN_ID]


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
    llama: LlamaCpp,
    texts: Sequence[str],
    encoded: list[list[int]],
    sample: Sample,
    *,
    with_fields: bool,
) -> dict[str, float]:
    differences = []
    for ids, logits in zip(sample.ids, sample.logits, strict=True):
        context = ids[: llama.context - 1]  # the predicted token takes the last place
        expected = logits[len(context) - 1].log_softmax(dim=-1).numpy()
        values = llama.log_probabilities(context, len(expected))
        differences.append(float(np.abs(values - expected).max()))
    written = [ids + llama.write(ids, llama.context - len(ids)) for ids in sample.prompts]
    return {
        "llama_cpp_tokenized_alike": _alike(
            [llama.encode(text, special=with_fields) for text in texts], encoded
        ),
        "llama_cpp_log_probability_difference": max(differences),
        "llama_cpp_written_alike": _alike(written, sample.written),
    }


def _alike(found: list[list[int]], expected: list[list[int]]) -> int:
    return sum(a == b for a, b in zip(found, expected, strict=True))


def _write(model: LanguageModel, ids: list[int]) -> list[int]:
    count = model.block_size - len(ids)
    written = model.generate(torch.tensor([ids]), count, temperature=0, stop_id=model.stop_id)
    continued: list[int] = written[0].tolist()
    return continued


def main() -> None:
    """Print the figures of a model folder as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="models/poet", help="a model folder")
    parser.add_argument("--poems", default="data/val.jsonl", help="poems to compare on")
    parser.add_argument("--count", type=count, default=100, help="poems to score and continue")
    arguments = parser.parse_args()
    model, tokenizer = load_model(arguments.model)
    poems = read_poems(arguments.poems)
    print(json.dumps(compare(model, tokenizer, poems, arguments.count), indent=2))


if __name__ == "__main__":
    run(main, takes_arguments=True)
