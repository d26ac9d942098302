"""The model as MLflow stores and serves it.

MLflow runs this file to make the model ("models from code"), so that nothing is pickled. The file
then has a copy of `nanopoet` and the artifact `poet`, a model folder, and nothing else of the
project.
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
from nanopoet.models.generate import generate
from nanopoet.models.sampling import MOST_POEMS, Sampling, check_prompt
from nanopoet.ops.linear import packed
from nanopoet.tokens.fields import encode_prompt

_TYPES = {"integer": DataType.long, "number": DataType.double}

_PARAMS = [
    ParamSpec(name, _TYPES[schema["type"]], schema["default"])
    for name, schema in Sampling.properties().items()
]
SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec(DataType.string, "prompt")]),
    outputs=Schema([ColSpec(DataType.string, "prompt"), ColSpec(DataType.string, "poem")]),
    params=ParamSchema(_PARAMS),
)
"""Input, output and parameters, as MLflow checks and shows them."""

REQUIREMENTS = (
    "mlflow",
    "numpy",
    "orjson",
    "pandas",
    "psutil",
    "pydantic",
    "safetensors",
    "torch",
    "tqdm",
)
"""Packages that MLflow installs where it serves the model by itself."""


class Poet(PythonModel):
    """A model that continues prompts; a prompt may be empty."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the model folder; MLflow calls this once."""
        self.model, self.tokenizer = load_model(context.artifacts["poet"])

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Write `count` poems for each prompt.

        Args:
            context: not used; `load_context` has read it.
            model_input: N rows with the column `prompt`.
            params: values of `Sampling` that differ from the defaults.

        Returns:
            N × `count` rows with the columns `prompt` and `poem`.

        Raises:
            MlflowException: a parameter is out of range, a prompt is too long, or there are too
                many poems. Over HTTP it is status 400.
        """
        prompts = list(model_input["prompt"])
        try:
            sampling = Sampling.read(params or {})
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
        with packed(self.model):
            for prompt in prompts:
                begin = encode_prompt(prompt, self.tokenizer, takes_fields=self.model.takes_fields)
                ids = generate(
                    self.model,
                    torch.tensor([begin]).expand(sampling.count, -1),
                    **sampling.arguments(),
                    generator=generator,
                    stop_id=self.model.stop_id,
                )
                rows += [(prompt, self.tokenizer.decode_poem(row)) for row in ids.tolist()]
        return pd.DataFrame(rows, columns=["prompt", "poem"])


set_model(Poet())
