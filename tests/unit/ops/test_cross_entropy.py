import pytest
import torch
import torch.nn.functional as F

from nanopoet.ops import cross_entropy
from nanopoet.ops.cross_entropy import (
    ClassLoss,
    Policy,
    add_class_gradient,
    linear_cross_entropy,
    softmax_gradient,
    token_cross_entropy,
)


@pytest.mark.parametrize("multiple", [1, 8])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("rows", [7, 1024, 2500])
def test_it_is_the_cross_entropy_and_its_gradient(
    monkeypatch: pytest.MonkeyPatch, with_bias: bool, rows: int, multiple: int
) -> None:
    """This holds for several parts of unequal size, and for a padded vocabulary too."""
    monkeypatch.setattr(cross_entropy, "logits_multiple", lambda _: multiple)
    torch.manual_seed(0)
    x = torch.randn(rows, 5, requires_grad=True)
    weight = torch.randn(11, 5, requires_grad=True)
    bias = torch.randn(11, requires_grad=True) if with_bias else None
    targets = torch.randint(11, (rows,))
    plain = F.cross_entropy(F.linear(x, weight, bias), targets)
    ours = linear_cross_entropy(x, weight, bias, targets)
    torch.testing.assert_close(ours, plain)
    leaves = [x, weight] + ([] if bias is None else [bias])
    expected = torch.autograd.grad(2 * plain, leaves)
    for found, wanted in zip(torch.autograd.grad(2 * ours, leaves), expected, strict=True):
        torch.testing.assert_close(found, wanted)
    each = token_cross_entropy(x, lambda part: F.linear(part, weight, bias), targets)
    torch.testing.assert_close(each.mean(), plain)


def test_under_autocast_the_loss_is_fp32_and_close() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(64, 32), torch.randn(100, 32, requires_grad=True)
    targets = torch.randint(100, (64,))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = linear_cross_entropy(x, weight, None, targets)
    assert found.dtype == torch.float32
    expected = F.cross_entropy(F.linear(x, weight), targets)
    assert found.item() == pytest.approx(expected.item(), rel=5e-3)
    torch.autograd.backward(found)
    assert weight.grad is not None
    assert weight.grad.dtype == torch.float32


def test_large_logits_do_not_overflow() -> None:
    losses, gradient = softmax_gradient(torch.tensor([[1e4, -1e4]]), torch.tensor([1]), 1.0)
    assert losses.tolist() == [2e4]
    assert gradient.tolist() == [[1.0, -1.0]]


def test_a_row_without_a_target_has_no_loss_and_no_gradient() -> None:
    x, weight = torch.randn(6, 4, requires_grad=True), torch.randn(9, 4, requires_grad=True)
    targets = torch.tensor([3, 1, 8, 1, 0, 1])
    loss = linear_cross_entropy(x, weight, None, targets, no_target=1)
    counts = targets != 1
    expected = torch.nn.functional.cross_entropy((x @ weight.t())[counts], targets[counts]) / 2
    assert loss.item() == pytest.approx(expected.item())
    [gradient] = torch.autograd.grad(loss, x)
    assert (gradient[~counts] == 0).all()
    assert torch.allclose(gradient, torch.autograd.grad(expected, x)[0], atol=1e-6)


def test_the_logits_of_all_rows_never_exist_at_once() -> None:
    parts = [part.stop - part.start for part in cross_entropy.row_parts(torch.empty(5000, 1))]
    assert max(parts) == 1024


def test_the_second_loss_asks_for_the_class_of_the_target() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(40, 4, requires_grad=True), torch.randn(9, 4, requires_grad=True)
    targets = torch.arange(40) % 9
    tokens, strength = (2, 7, 5), 2.5
    value = linear_cross_entropy(
        x, weight, None, targets, no_target=1, class_loss=ClassLoss(tokens, strength)
    )
    p = (x @ weight.t()).softmax(dim=1)
    others = 1 - p[:, tokens].sum(dim=1)
    own = p.gather(1, targets[:, None])[:, 0]
    of_class = torch.where(torch.isin(targets, torch.tensor(tokens)), own, others)
    counts = targets != 1
    plain = -(own.log() * counts).sum() / 40
    assert value.item() == pytest.approx(plain.item())
    both = plain - strength * (of_class.log() * counts).sum() / 40
    for found, wanted in zip(
        torch.autograd.grad(value, [x, weight]), torch.autograd.grad(both, [x, weight]), strict=True
    ):
        torch.testing.assert_close(found, wanted)


def test_the_second_loss_is_finite_where_the_class_is_all_but_impossible() -> None:
    """All of the probability is on the classes of their own, and the target is none of them."""
    gradient = torch.tensor([[1.0, -1.0, 0.0]])
    add_class_gradient(gradient, torch.tensor([1]), ClassLoss((0,), 4.0), 1.0)
    assert gradient.isfinite().all()
    assert gradient[0, 0] == 5


def test_a_policy_weights_the_gradient_and_not_the_value() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(40, 4, requires_grad=True), torch.randn(9, 4, requires_grad=True)
    targets, gains = torch.randint(9, (40,)), torch.randn(40)
    policy = Policy(gains, torch.zeros(40), torch.zeros(40))
    value = linear_cross_entropy(x, weight, None, targets, no_target=1, policy=policy)
    losses = F.cross_entropy(x @ weight.t(), targets, reduction="none") * (targets != 1)
    assert value.item() == pytest.approx(losses.mean().item())
    expected = (losses * gains).mean()
    for found, wanted in zip(
        torch.autograd.grad(value, [x, weight]),
        torch.autograd.grad(expected, [x, weight]),
        strict=True,
    ):
        torch.testing.assert_close(found, wanted)


def test_the_gradient_of_the_divergence_is_its_mean_over_drawn_tokens() -> None:
    """Each token of the vocabulary is a row, weighted by its probability, so nothing is drawn."""
    torch.manual_seed(0)
    vocabulary, reference = 9, torch.randn(9).log_softmax(dim=0)
    x, weight = torch.randn(1, 4), torch.randn(vocabulary, 4, requires_grad=True)
    own = (x @ weight.t()).log_softmax(dim=1)[0]
    [wanted] = torch.autograd.grad((own.exp() * (own - reference)).sum(), weight)
    policy = Policy(torch.zeros(vocabulary), -reference, own.detach().exp())
    value = linear_cross_entropy(
        x.expand(vocabulary, 4), weight, None, torch.arange(vocabulary), policy=policy
    )
    [found] = torch.autograd.grad(value * vocabulary, weight)
    torch.testing.assert_close(found, wanted)


def test_a_layer_that_is_not_trained_gets_no_gradient() -> None:
    x, weight = torch.randn(6, 4, requires_grad=True), torch.randn(9, 4)
    loss = linear_cross_entropy(x, weight, None, torch.arange(6))
    torch.autograd.backward(loss)
    assert x.grad is not None
    assert weight.grad is None
