"""Keys and values of texts of several lengths, continued together."""

from collections.abc import Iterator

import pytest
import torch

from nanopoet.models.base import LanguageModel
from nanopoet.models.kv_pool import KVPool, PoolPass, PoolRows

TEXTS = torch.randint(30, (4, 8), generator=torch.Generator().manual_seed(2))
CPU = torch.device("cpu")


def rows_of(pool: KVPool, texts: int) -> PoolRows:
    return PoolRows(pool, texts, CPU)


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def test_each_token_sees_its_own_text(model: LanguageModel) -> None:
    """Each pass has some tokens of each text."""
    pool = KVPool(model.block_size, rows=6)
    whole = model.hidden(TEXTS)
    rows = rows_of(pool, 4).rows
    for of_each in ([(0, 2), (0, 3), (0, 1), (0, 5)], [(2, 3), (3, 6), (1, 2), (5, 8)]):
        tokens = [(text, at) for text, (a, b) in enumerate(of_each) for at in range(a, b)]
        texts, places = torch.tensor(tokens).T
        hidden = model.hidden(TEXTS[texts, places, None], PoolPass(pool, rows[texts], places))
        torch.testing.assert_close(hidden[:, 0], whole[texts, places])


def test_texts_that_are_kept_go_on(model: LanguageModel) -> None:
    pool = KVPool(model.block_size, rows=5)
    other, some = rows_of(pool, 1), rows_of(pool, 3)
    rows, places = torch.cat([other.rows, some.rows]), torch.arange(4)
    ids = TEXTS[:, :4].reshape(-1, 1)
    model.hidden(ids, PoolPass(pool, rows.repeat_interleave(4), places.repeat(4)))
    some.keep(torch.tensor([2, 2, 0]))
    some.keep(torch.tensor([1, 2]))
    assert len(pool.free) == 2
    texts = torch.tensor([0, 3, 1])
    rows, places = torch.cat([other.rows, some.rows]), torch.tensor([4, 4, 4])
    hidden = model.hidden(TEXTS[texts, 4, None], PoolPass(pool, rows, places))
    torch.testing.assert_close(hidden[:, 0], model.hidden(TEXTS[:, :5])[texts, 4])


def test_rows_are_free_again_when_their_texts_leave() -> None:
    pool = KVPool(block_size=8, rows=3)
    first = rows_of(pool, 2)
    assert len(pool.free) == 1
    with pytest.raises(AssertionError):
        rows_of(pool, 2)
    first.leave()
    assert sorted(rows_of(pool, 3).rows.tolist()) == [0, 1, 2]
