"""The model as MLflow stores and serves it.

MLflow runs this file to make the model ("models from code", so there is no pickle), with
the artifact `poet`, a model folder, and a copy of `nanopoet` at hand, and nothing else of
the project.
"""

from typing import Any

import pandas as pd
import torch
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature, set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

from nanopoet.checkpoint import load_model
from nanopoet.tokenizer import BEGIN_ID

MOST_POEMS = 256
"""Of one request: 256 at once take some seconds on two cores and some hundred megabytes."""

# name: type, default, least, most, what it means
_PARAMS: dict[str, tuple[DataType, float, float, float, str]] = {
    "max_new_tokens": (DataType.long, 100, 1, 1000, "characters beyond the prompt, at most"),
    "temperature": (DataType.double, 1.0, 0, 10, "below 1 plays safe, 0 takes the likeliest"),
    "top_k": (DataType.long, 0, 0, 100_000, "draw from so many of the likeliest; 0 from all"),
    "top_p": (DataType.double, 1.0, 1e-6, 1, "draw from the likeliest, up to this probability"),
    "seed": (DataType.long, 0, 0, 2**32 - 1, "the same seed writes the same poems"),
    "count": (DataType.long, 1, 1, MOST_POEMS, "poems for each prompt"),
}
LONGEST_PROMPT = 1000

SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec(DataType.string, "prompt")]),
    outputs=Schema([ColSpec(DataType.string, "prompt"), ColSpec(DataType.string, "poem")]),
    params=ParamSchema(
        [ParamSpec(name, kind, default) for name, (kind, default, *_) in _PARAMS.items()]
    ),
)
REQUIREMENTS = (
    "mlflow",
    "numpy",
    "orjson",
    "pandas",
    "psutil",
    "pydantic",
    "ruamel.yaml",
    "safetensors",
    "torch",
    "tqdm",
)


class Poet(PythonModel):
    """Continues each prompt; a prompt may be empty."""

    def load_context(self, context: PythonModelContext) -> None:
        self.model, self.tokenizer = load_model(context.artifacts["poet"])

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """`count` rows of prompt and poem for each row of the column `prompt`.

        Raises:
            MlflowException: a parameter is out of range, or a prompt too long; over HTTP, status
                400.
        """
        settings = _checked(params or {})
        count, prompts = settings["count"], list(model_input["prompt"])
        if len(prompts) * count > MOST_POEMS:
            raise _refusal(f"{len(prompts)} prompts × count {count}", f"at most {MOST_POEMS} poems")
        generator = torch.Generator().manual_seed(settings["seed"])
        rows = []
        for prompt in prompts:
            if len(prompt) > LONGEST_PROMPT:
                allowed = f"at most {LONGEST_PROMPT} characters"
                raise _refusal(f"a prompt of {len(prompt)} characters", allowed)
            begin = torch.tensor([[BEGIN_ID, *self.tokenizer.encode(prompt)]])
            ids = self.model.generate(
                begin.expand(count, -1),
                settings["max_new_tokens"],
                temperature=settings["temperature"],
                top_k=settings["top_k"] or None,
                top_p=settings["top_p"],
                generator=generator,
                stop_id=BEGIN_ID,
            )
            rows += [(prompt, self.tokenizer.decode_poem(row)) for row in ids.tolist()]
        return pd.DataFrame(rows, columns=["prompt", "poem"])


def _checked(params: dict[str, Any]) -> dict[str, Any]:
    settings = {name: params.get(name, default) for name, (_, default, *_) in _PARAMS.items()}
    for name, (_, _, least, most, meaning) in _PARAMS.items():
        if not least <= settings[name] <= most:  # NaN is not, either
            raise _refusal(f"{name} = {settings[name]}", f"{least:g} to {most:g} ({meaning})")
    return settings


def _refusal(found: str, allowed: str) -> MlflowException:
    text = f"{found} is not allowed: {allowed}"
    return MlflowException(text, error_code=INVALID_PARAMETER_VALUE)


set_model(Poet())
