import numpy as np
import pytest

from nanopoet.common.errors import NanopoetError
from nanopoet.tokens.batches import check_length, epoch_windows, even_windows, random_windows


def test_a_target_is_the_token_that_follows() -> None:
    tokens = np.arange(100, dtype=np.uint16)
    for inputs, targets in (
        random_windows(tokens, 8, 50, np.random.default_rng(0)),
        even_windows(tokens, 8, 50),
        epoch_windows(tokens, 8, 50, seed=0, step=3),  # too few tokens for an epoch
        epoch_windows(np.tile(tokens, 50), 8, 50, seed=0, step=3),
    ):
        assert inputs.shape == targets.shape == (50, 8)
        assert inputs.dtype == np.int64
        np.testing.assert_array_equal(targets, (inputs + 1) % 100)


def test_windows_reach_from_end_to_end() -> None:
    tokens = np.arange(20, dtype=np.uint16)
    inputs, targets = random_windows(tokens, 8, 2000, np.random.default_rng(0))
    assert inputs.min() == 0
    assert targets.max() == 19
    inputs, targets = even_windows(tokens, 8, 3)
    assert inputs[0, 0] == 0
    assert targets[-1, -1] == 19


@pytest.mark.parametrize("size", [408, 415])  # the smallest and the largest for ten batches
def test_an_epoch_has_each_window_once(size: int) -> None:
    tokens = np.arange(size, dtype=np.uint16)
    starts = []
    for epoch in range(100):
        batches = [epoch_windows(tokens, 8, 5, 1, 10 * epoch + step)[0] for step in range(10)]
        seen = np.concatenate(batches)
        assert len(np.unique(seen)) == 400
        for batch in batches:  # the i-th window from the i-th fifth
            assert ((batch[:, 0] - seen.min()) // 80).tolist() == [0, 1, 2, 3, 4]
        starts.append(seen[:, 0].tolist())
    assert len({min(epoch) for epoch in starts}) == 8  # windows begin elsewhere in each epoch
    assert len({tuple(np.argsort(epoch)) for epoch in starts}) == 100  # in another order


def test_a_seed_decides_the_epochs() -> None:
    tokens = np.arange(400, dtype=np.uint16)
    one, again, other = (epoch_windows(tokens, 8, 5, seed, 7)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_a_part_shorter_than_a_block_is_named() -> None:
    check_length(np.zeros(9), 8, "validation")
    with pytest.raises(NanopoetError, match="the validation part has 8 tokens, but pretrain"):
        check_length(np.zeros(8), 8, "validation")
