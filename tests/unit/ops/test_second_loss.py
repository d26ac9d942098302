import pytest
import torch

from nanopoet.ops.second_loss import ClassLoss, ContextLoss, ListLoss
from tests.support.second_rows import right_tokens

BEGIN, OPEN, CLOSE = range(3)


@pytest.mark.parametrize("before", [None, (3, 4)])
def test_tokens_of_the_class_of_the_target_are_right(before: tuple[int, ...] | None) -> None:
    torch.manual_seed(0)
    classes = torch.tensor([0, 0, 1, 1, 2, 2, 2, 0, 0])
    related = torch.tensor([[c == 0 for c in classes], [c > 0 for c in classes], [True] * 9])
    targets = torch.randint(9, (4, 10))
    rows = ClassLoss(classes, related, 2.5, before).rows(targets, targets)
    right, at = right_tokens(rows, 9), rows.at
    flat = targets.flatten().tolist()
    following = [each for row in targets.tolist() for each in [*row[1:], None]]
    places = [i for i, each in enumerate(following) if before is None or each in before]
    assert len(places) > 0
    assert (list(range(40)) if at is None else at.tolist()) == places
    assert torch.equal(right, torch.stack([related[classes[flat[i]]] for i in places]))
    assert rows.weights.tolist() == [2.5] * len(places)


def test_a_token_of_the_list_is_right_alone_and_the_others_together() -> None:
    rows = ListLoss([2, 4], 1.5).rows(torch.empty(0), torch.tensor([[4, 0], [2, 3]]))
    right = [row.nonzero()[:, 0].tolist() for row in right_tokens(rows, 6)]
    assert right == [[4], [0, 1, 3, 5], [2], [0, 1, 3, 5]]
    assert rows.weights.tolist() == [1.5] * 4


def test_tokens_of_a_piece_are_right_where_one_of_them_follows() -> None:
    counted = torch.tensor([False] * 3 + [True] * 3)
    idx = torch.tensor([[BEGIN, OPEN, 4, CLOSE, 3, BEGIN, 4]])
    targets = torch.tensor([[OPEN, 4, CLOSE, 4, BEGIN, 4, 3]])
    rows = ContextLoss(OPEN, CLOSE, BEGIN, counted, 2.0).rows(idx, targets)
    right = right_tokens(rows, 6)
    only, any_token = torch.eye(6, dtype=torch.bool)[4], torch.ones(6, dtype=torch.bool)
    expected = [any_token, any_token, ~only, only, ~only, any_token, any_token]
    assert torch.equal(right, torch.stack(expected)), "the next text does not see it"
    assert rows.weights.tolist() == [2.0] * 7


def test_a_token_that_a_piece_has_twice_counts_once() -> None:
    counted = torch.tensor([False] * 3 + [True] * 3)
    idx = torch.tensor([[BEGIN, OPEN, 4, 4, 5, 4, CLOSE]])
    targets = torch.tensor([[OPEN, 4, 4, 5, 4, CLOSE, 4]])
    right = right_tokens(ContextLoss(OPEN, CLOSE, BEGIN, counted, 2.0).rows(idx, targets), 6)
    assert right[-1].nonzero()[:, 0].tolist() == [4, 5]
