import math

import pytest
import torch

from nanopoet.corpus.poems import Poem
from nanopoet.evaluation.readers import counting_reader, model_reader
from nanopoet.models.registry import make_model
from nanopoet.tokens.encode import encode_poems
from nanopoet.tokens.tokenizer import CharTokenizer
from tests.support.poems import QUIET_NIGHT, STORK_TOWER

POEMS = [Poem(content=text, title="", author="", style="") for text in (STORK_TOWER, QUIET_NIGHT)]
TOKENIZER = CharTokenizer(POEMS)


@pytest.mark.parametrize("separate", [True, False])
def test_a_reader_that_counts_knows_what_it_has_read(separate: bool) -> None:
    read = counting_reader(encode_poems(POEMS, TOKENIZER, separate), TOKENIZER, order=3)
    known, mixed = read([STORK_TOWER]), read([STORK_TOWER[::-1]])
    assert known is not None
    assert mixed is not None
    assert known < mixed < math.log(TOKENIZER.vocab_size) + 1
    assert read([STORK_TOWER] * 2) == pytest.approx(known, abs=0.05)


def test_a_random_model_reads_everything_alike() -> None:
    config = {
        "architecture": "modern",
        "vocab_size": TOKENIZER.vocab_size,
        "emb_size": 16,
        "block_size": 8,
        "layer_num": 1,
        "head_num": 2,
        "kv_head_num": 1,
        "mlp_size": 16,
        "dropout": 0.0,
    }
    model = make_model(config, torch.Generator().manual_seed(1))
    read = model_reader(
        model, TOKENIZER, context=4, batch_size=2, device=torch.device("cpu"), precision="fp32"
    )
    nats = read([STORK_TOWER])
    ends = (len(STORK_TOWER) + 1) / len(STORK_TOWER)
    assert nats == pytest.approx(math.log(TOKENIZER.vocab_size) * ends, rel=0.05)
    assert read([]) is read([""]) is None
