import numpy as np
import pytest

from nanopoet.param_sections import PenaltyParams
from nanopoet.prosody.faults import Fault
from nanopoet.reinforcement.returns import advantages, returns

PENALTIES = PenaltyParams(
    form=1.0, rhyme=0.5, rhyme_distinct=0.25, tone=2.0, repeat=0.125, unknown=4.0
)


def test_without_discounting_a_token_answers_for_itself() -> None:
    found = [Fault("tone", 1), Fault("rhyme", 3), Fault("rhyme_distinct", 3), Fault("form", 5)]
    earned = returns(found, 6, PENALTIES, discount=0.0)
    assert earned.tolist() == [0, -2, 0, -0.75, 0, -1]


def test_without_a_horizon_the_first_token_has_the_whole_reward() -> None:
    found = [Fault("tone", 1), Fault("repeat", 2), Fault("form", 3)]
    earned = returns(found, 4, PENALTIES, discount=1.0)
    assert earned.tolist() == [-3.125, -3.125, -1.125, -1]


def test_a_poem_that_was_cut_pays_at_its_last_token() -> None:
    assert returns([Fault("form", 3)], 3, PENALTIES, discount=0.0).tolist() == [0, 0, -1]


def test_advantages_of_a_group_add_up_to_nothing_at_each_place() -> None:
    rng = np.random.default_rng(1)
    group = [rng.random(7) for _ in range(5)]
    found = advantages(group)
    assert np.stack(found).sum(axis=0) == pytest.approx(np.zeros(7))
    assert (found[0] - found[1]).tolist() == pytest.approx((group[0] - group[1]).tolist())


def test_poems_of_other_lengths_are_compared_as_far_as_they_reach() -> None:
    short, long = advantages([np.array([0.0, -1.0]), np.array([0.0, 0.0, -1.0])])
    assert short.tolist() == [0, -0.5]
    assert long.tolist() == [0, 0.5, 0]
