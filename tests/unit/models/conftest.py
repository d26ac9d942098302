"""Models for the tests of this folder."""

import pytest
import torch

from nanopoet.models.base import LanguageModel
from nanopoet.models.registry import make_model
from tests.support.models import CONFIGS


@pytest.fixture(params=list(CONFIGS))
def model(request: pytest.FixtureRequest) -> LanguageModel:
    """Make a model whose weights are all random, so that each part has an effect."""
    model = make_model(CONFIGS[request.param])
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    return model.eval()
