"""Keys and values of texts of several lengths, continued together."""

import torch
from torch import Tensor

from nanopoet.models.base import LanguageModel
from nanopoet.models.kv_cache import KVCache
from nanopoet.models.kv_pool import KVPool, PoolRows

TEXTS = torch.randint(30, (4, 8), generator=torch.Generator().manual_seed(2))


def pool_of(model: LanguageModel, rows: int) -> KVPool:
    return KVPool(model.block_size, rows, torch.device("cpu"))


def joined(model: LanguageModel, pool: KVPool, ids: Tensor) -> PoolRows:
    """Compute texts (b, T) and give them to a pool."""
    cache = KVCache(model.block_size)
    model.hidden(ids, cache)
    return pool.take_over(cache)


def test_each_text_gets_its_own_logits(model: LanguageModel) -> None:
    """Texts of two, three and five tokens, of which the second are two, go on together."""
    whole, _ = model(TEXTS)
    pool = pool_of(model, rows=6)
    with torch.no_grad():
        members = [
            (joined(model, pool, TEXTS[:1, :2]), TEXTS[:1]),
            (joined(model, pool, TEXTS[1:3, :3]), TEXTS[1:3]),
            (joined(model, pool, TEXTS[3:, :5]), TEXTS[3:]),
        ]
        members[0][0].leave()  # a free row between others
        members[0] = (joined(model, pool, TEXTS[:1, :4]), TEXTS[:1])
        for _ in range(3):
            ids = torch.zeros_like(pool.positions(1))
            for member, texts in members:
                ids[member.rows] = texts[:, member.length, None]
            places = [member.length for member, _ in members]
            logits = model.lm_head(model.hidden(ids, pool)[:, 0])
            expected = [whole[0, places[0]], *whole[1:3, places[1]], whole[3, places[2]]]
            rows = torch.cat([member.rows for member, _ in members])
            torch.testing.assert_close(logits[rows], torch.stack(expected))
            assert [member.length for member, _ in members] == [place + 1 for place in places]


def test_texts_that_are_kept_go_on(model: LanguageModel) -> None:
    pool = pool_of(model, rows=5)
    with torch.no_grad():
        other, member = joined(model, pool, TEXTS[:2, :4]), joined(model, pool, TEXTS[1:, :4])
        member.keep(torch.tensor([2, 0]))
        assert pool.free() == 1
        ids = torch.zeros_like(pool.positions(1))
        ids[other.rows], ids[member.rows] = TEXTS[:2, 4, None], TEXTS[[3, 1], 4, None]
        hidden, whole = model.hidden(ids, pool)[:, 0], model.hidden(TEXTS[:, :5])[:, -1]
    torch.testing.assert_close(hidden[other.rows], whole[:2])
    torch.testing.assert_close(hidden[member.rows], whole[[3, 1]])


def test_rows_are_free_again_when_their_texts_leave(model: LanguageModel) -> None:
    pool = pool_of(model, rows=3)
    with torch.no_grad():
        first = joined(model, pool, TEXTS[:1, :2])
        joined(model, pool, TEXTS[:2, :2])
        assert pool.free() == 0
        first.leave()
        assert pool.free() == 1
        assert joined(model, pool, TEXTS[:1, :2]).rows.tolist() == first.rows.tolist()
