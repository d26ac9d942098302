"""llama.cpp as a server in this process, by the `xllamacpp` package."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import requests
import xllamacpp


class LlamaCpp:
    """A GGUF file in llama.cpp, on one CPU thread and with an fp32 KV cache.

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
        self._session.trust_env = False  # no proxy for a server in this process

    def ask(self, path: str, question: dict[str, Any]) -> dict[str, Any]:
        """Send a request to llama.cpp's server; its tools/server/README.md describes the API."""
        url = f"{self._server.listening_address}/{path}"
        response = self._session.post(url, json=question, timeout=300)
        response.raise_for_status()
        answer: dict[str, Any] = response.json()
        return answer

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """Tokenize a text, with the names of special tokens as these tokens if `special`."""
        question = {"content": text, "add_special": False, "parse_special": special}
        ids: list[int] = self.ask("tokenize", question)["tokens"]
        return ids

    def write(self, ids: list[int], count: int) -> list[int]:
        """Continue `ids` with at most `count` ids, the likeliest each time."""
        question = {"prompt": ids, "n_predict": count, "temperature": 0, "return_tokens": True}
        written: list[int] = self.ask("completion", question)["tokens"]
        return written

    def log_probabilities(self, ids: list[int], vocab_size: int) -> npt.NDArray[np.float64]:
        """Return the log-probability of each token after `ids`, (V,), in nats."""
        question = {"prompt": ids, "n_predict": 1, "n_probs": vocab_size, "temperature": 0}
        [answer] = self.ask("completion", question)["completion_probabilities"]
        values = np.full(vocab_size, -math.inf)
        for token in answer["top_logprobs"]:
            values[token["id"]] = token["logprob"]
        return values
