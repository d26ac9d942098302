"""A model before and after its export: `python -m bench.export`, after `make repro`.

The validation poems go through nanopoet, `transformers` and llama.cpp, which must tokenize all of
them alike, give a hundred of them the same probabilities, and continue these with the same text.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from bench.llama import LlamaCpp
from nanopoet.checkpoint import load_model
from nanopoet.gguf import export_gguf
from nanopoet.huggingface import export_huggingface
from nanopoet.language_model import LanguageModel
from nanopoet.modern import ModernLanguageModel
from nanopoet.poems import read_poems
from nanopoet.tokenizer import BEGIN_ID, CharTokenizer

PROMPT = 5
"""Characters of a poem that are given to be continued."""


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
    chosen = [texts[i] for i in np.linspace(0, len(texts) - 1, count).astype(int)]
    prompts = [text[:PROMPT] for text in chosen]
    room = model.block_size - PROMPT - 1
    context = model.block_size
    cut = [[BEGIN_ID, *tokenizer.encode(text)][:context] for text in chosen]
    logits = [model(torch.tensor([ids]))[0][0] for ids in cut]
    continued = [_write(model, tokenizer, prompt, room) for prompt in prompts]
    figures: dict[str, float] = {"poems": len(texts), "poems_scored": count}
    with TemporaryDirectory() as folder:
        export_huggingface(model, tokenizer, Path(folder) / "hf")
        theirs = AutoModelForCausalLM.from_pretrained(Path(folder) / "hf")
        words = AutoTokenizer.from_pretrained(Path(folder) / "hf", model_max_length=None)
        encoded = words(list(texts), add_special_tokens=False)["input_ids"]
        figures["transformers_tokenized_alike"] = sum(
            ids == tokenizer.encode(text) for ids, text in zip(encoded, texts, strict=True)
        )
        figures["transformers_logit_difference"] = max(
            float((theirs(torch.tensor([ids])).logits[0] - expected).abs().max())
            for ids, expected in zip(cut, logits, strict=True)
        )
        figures["transformers_written_alike"] = sum(
            _greedy(theirs, words, prompt) == text
            for prompt, text in zip(prompts, continued, strict=True)
        )
        if not isinstance(model, ModernLanguageModel):
            return figures
        export_gguf(model, tokenizer, Path(folder) / "poet.gguf")
        llama = LlamaCpp(Path(folder) / "poet.gguf", context)
        figures["llama_cpp_tokenized_alike"] = sum(
            llama.encode(text) == tokenizer.encode(text) for text in texts
        )
        differences = []
        for ids, expected in zip(cut, logits, strict=True):
            begun = ids[: context - 1]  # one more is predicted
            ours = expected[len(begun) - 1].log_softmax(dim=-1).numpy()
            values = llama.log_probabilities(begun, tokenizer.vocab_size)
            differences.append(float(np.abs(values - ours).max()))
        figures["llama_cpp_log_probability_difference"] = max(differences)
        figures["llama_cpp_written_alike"] = sum(
            prompt + llama.write(prompt, room) == text
            for prompt, text in zip(prompts, continued, strict=True)
        )
    return figures


def _write(model: LanguageModel, tokenizer: CharTokenizer, prompt: str, count: int) -> str:
    ids = torch.tensor([[BEGIN_ID, *tokenizer.encode(prompt)]])
    written = model.generate(ids, count, temperature=0, stop_id=BEGIN_ID)
    return tokenizer.decode_poem(written[0].tolist())


def _greedy(model: Any, words: Any, prompt: str) -> str:
    begun = words(prompt, return_tensors="pt")
    text: str = words.decode(model.generate(**begun, do_sample=False)[0], skip_special_tokens=True)
    return text


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
