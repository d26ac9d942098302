import torch

from nanopoet.models.kv_cache import KVCache


def test_it_holds_keys_and_values_and_zeros() -> None:
    keys, values = torch.randn(2, 3, 2, 50, 4)
    cache = KVCache(block_size=50)
    capacities = []
    for start, end in [(0, 5), *((i, i + 1) for i in range(5, 50))]:
        for layer, sign in enumerate((1, -1)):
            k, v, length = cache.extend(
                layer, sign * keys[:, :, start:end], sign * values[:, :, start:end]
            )
            assert length == end
            assert torch.equal(k[:, :, :end], sign * keys[:, :, :end])
            assert torch.equal(v[:, :, :end], sign * values[:, :, :end])
            assert not k[:, :, end:].any()
            assert not v[:, :, end:].any()
        cache.advance(end - start)
        capacities.append(k.shape[2])
    assert capacities == [16] * 12 + [32] * 16 + [50] * 18


def test_it_keeps_the_sequences_that_go_on() -> None:
    keys, values = torch.randn(2, 3, 2, 17, 4)
    cache = KVCache(block_size=50)
    cache.extend(0, keys[:, :, :16], values[:, :, :16])
    cache.advance(16)
    rows = torch.tensor([2, 0])
    cache.keep(rows)
    k, v, length = cache.extend(0, keys[rows, :, 16:], values[rows, :, 16:])
    assert torch.equal(k[:, :, :length], keys[rows])
    assert torch.equal(v[:, :, :length], values[rows])
