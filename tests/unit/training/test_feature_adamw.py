import torch
from torch import Tensor, nn

from nanopoet.training.feature_adamw import FeatureAdamW

FEATURES = [[], ["water", "level"], ["water"], ["level", "fire"], ["water", "oblique"], ["oblique"]]
"""Features of six rows; only one row has fire."""
MEANS = torch.tensor(
    [[0, 0, 0], [1 / 2, 1 / 2, 0], [1, 0, 0], [0, 1, 0], [1 / 2, 0, 1 / 2], [0, 0, 1]]
)
"""Weight of each feature in each row without fire, (6, 3): water, level, oblique."""
BETAS = 0.8, 0.99


def _gradients() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(6, 4, generator=generator) for _ in range(5)]


def test_it_is_adamw_on_a_second_table_of_features() -> None:
    own, shared = nn.Parameter(torch.ones(6, 4)), nn.Parameter(torch.zeros(3, 4))
    theirs = torch.optim.AdamW([own, shared], lr=0.1, betas=BETAS, weight_decay=0)
    table = nn.Parameter(torch.ones(6, 4))
    ours = (
        torch.optim.AdamW([table], lr=0.1, betas=BETAS, weight_decay=0),
        FeatureAdamW([{"params": [table], "lr": 0.1}], FEATURES, BETAS),
    )
    for gradient in _gradients():
        own.grad, shared.grad, table.grad = gradient, MEANS.T @ gradient, gradient
        for optimizer in (theirs, *ours):
            optimizer.step()
    torch.testing.assert_close(table, own + MEANS @ shared)
    assert not torch.allclose(table, own)


def test_rows_without_a_shared_feature_stay() -> None:
    table = nn.Parameter(torch.ones(6, 4))
    optimizer = FeatureAdamW([{"params": [table], "lr": 0.1}], FEATURES, BETAS)
    table.grad = _gradients()[0]
    optimizer.step()
    moved = (table != 1).any(dim=1).tolist()
    assert moved == [bool(row.any()) for row in MEANS]


def test_each_table_has_its_rate_and_its_averages() -> None:
    tables = [nn.Parameter(torch.zeros(6, 4)) for _ in range(2)]
    groups = [{"params": [table], "lr": lr} for table, lr in zip(tables, (0.1, 0.3), strict=True)]
    optimizer = FeatureAdamW(groups, FEATURES, BETAS)
    for gradient in _gradients():
        tables[0].grad, tables[1].grad = gradient, gradient
        optimizer.step()
    torch.testing.assert_close(3 * tables[0], tables[1])
