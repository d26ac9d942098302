"""llama.cpp, run in this process by the `xllamacpp` package and asked over loopback."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import requests
import xllamacpp


class LlamaCpp:
    """A GGUF file in llama.cpp: one thread of the CPU, and fp32 for what it keeps of a text.

    Args:
        path: the file.
        context: most tokens of a text.
    """

    def __init__(self, path: str | Path, context: int) -> None:
        self.context = context
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx = context
        params.n_parallel = 1
        params.n_gpu_layers = 0
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.warmup = False
        params.verbosity = 0
        params.port = 0
        self._server = xllamacpp.Server(params)
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy between us and ourselves

    def ask(self, path: str, question: dict[str, Any]) -> dict[str, Any]:
        """What llama.cpp's own server answers (its tools/server/README.md)."""
        url = f"{self._server.listening_address}/{path}"
        response = self._session.post(url, json=question, timeout=300)
        response.raise_for_status()
        answer: dict[str, Any] = response.json()
        return answer

    def encode(self, text: str) -> list[int]:
        """Ids of a text, as llama.cpp reads it."""
        question = {"content": text, "add_special": False, "parse_special": False}
        ids: list[int] = self.ask("tokenize", question)["tokens"]
        return ids

    def write(self, ids: list[int], count: int) -> list[int]:
        """The ids that it takes for the likeliest to follow `ids`, at most `count`."""
        question = {"prompt": ids, "n_predict": count, "temperature": 0, "return_tokens": True}
        written: list[int] = self.ask("completion", question)["tokens"]
        return written

    def log_probabilities(self, ids: list[int], vocab_size: int) -> npt.NDArray[np.float64]:
        """(V,) of the token that follows `ids`."""
        question = {"prompt": ids, "n_predict": 1, "n_probs": vocab_size, "temperature": 0}
        [answer] = self.ask("completion", question)["completion_probabilities"]
        values = np.full(vocab_size, -math.inf)
        for token in answer["top_logprobs"]:
            values[token["id"]] = token["logprob"]
        return values
