import pytest
import torch

from nanopoet.ops.class_loss import ClassLoss, ContextLoss

BEGIN, OPEN, CLOSE = range(3)


@pytest.mark.parametrize("before", [None, (3, 4)])
def test_tokens_of_the_class_of_the_target_are_right(before: tuple[int, ...] | None) -> None:
    torch.manual_seed(0)
    classes = torch.tensor([0, 0, 1, 1, 2, 2, 2, 0, 0])
    related = torch.tensor([[c == 0 for c in classes], [c > 0 for c in classes], [True] * 9])
    targets = torch.randint(9, (4, 10))
    right, weights, at = ClassLoss(classes, related, 2.5, before).rows(targets, targets)
    flat = targets.flatten().tolist()
    following = [each for row in targets.tolist() for each in [*row[1:], None]]
    places = [i for i, each in enumerate(following) if before is None or each in before]
    assert len(places) > 0
    assert (list(range(40)) if at is None else at.tolist()) == places
    assert torch.equal(right, torch.stack([related[classes[flat[i]]] for i in places]))
    assert weights.tolist() == [2.5] * len(places)


def test_tokens_of_a_piece_are_right_where_one_of_them_follows() -> None:
    counted = torch.tensor([False] * 3 + [True] * 3)
    idx = torch.tensor([[BEGIN, OPEN, 4, CLOSE, 3, BEGIN, 4]])
    targets = torch.tensor([[OPEN, 4, CLOSE, 4, BEGIN, 4, 3]])
    right, weights, _ = ContextLoss(OPEN, CLOSE, BEGIN, counted, 2.0).rows(idx, targets)
    assert weights.tolist() == [0, 0, 2, 2, 2, 0, 0], "the next text does not see it"
    only = torch.eye(6, dtype=torch.bool)[4]
    for place, expected in ((2, ~only), (3, only), (4, ~only)):
        assert torch.equal(right[place], expected)
