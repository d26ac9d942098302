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

from nanopoet.common.errors import NanopoetError
from nanopoet.models.checkpoint import load_model
from nanopoet.models.sampling import KNOBS, MOST_POEMS, Sampling, check_prompt
from nanopoet.tokens.tokenizer import BEGIN_ID

_KINDS = {int: DataType.long, float: DataType.double}

SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec(DataType.string, "prompt")]),
    outputs=Schema([ColSpec(DataType.string, "prompt"), ColSpec(DataType.string, "poem")]),
    params=ParamSchema(
        [ParamSpec(name, _KINDS[knob.kind], knob.default) for name, knob in KNOBS.items()]
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
        prompts = list(model_input["prompt"])
        try:
            sampling = Sampling(**(params or {}))
            for prompt in prompts:
                check_prompt(prompt)
            if len(prompts) * sampling.count > MOST_POEMS:
                raise NanopoetError(
                    f"{len(prompts)} prompts × count {sampling.count} is not allowed: at most "
                    f"{MOST_POEMS} poems"
                )
        except NanopoetError as error:
            raise MlflowException(str(error), error_code=INVALID_PARAMETER_VALUE) from None
        generator = torch.Generator().manual_seed(sampling.seed)
        rows = []
        for prompt in prompts:
            begin = torch.tensor([[BEGIN_ID, *self.tokenizer.encode(prompt)]])
            ids = self.model.generate(
                begin.expand(sampling.count, -1),
                sampling.max_new_tokens,
                temperature=sampling.temperature,
                top_k=sampling.top_k or None,
                top_p=sampling.top_p,
                generator=generator,
                stop_id=BEGIN_ID,
            )
            rows += [(prompt, self.tokenizer.decode_poem(row)) for row in ids.tolist()]
        return pd.DataFrame(rows, columns=["prompt", "poem"])


set_model(Poet())
