"""The cells of the teaching notebook, as a reader types them, against our package."""

from pathlib import Path

import pytest

CELLS = (
    """
import torch
from nanopoet import BEGIN, CharTokenizer, GPTLanguageModel, load_raw_data, split_data
""",
    """
raw_data = load_raw_data(corpus)
train_data, val_data = split_data(raw_data)
""",
    """
tokenizer = CharTokenizer(raw_data)
vocab_size = tokenizer.vocab_size
""",
    """
train_text = "".join([poem["content"] for poem in train_data])
val_text = "".join([poem["content"] for poem in val_data])
train_tokens = torch.tensor(tokenizer.encode(train_text), dtype=torch.long)
val_tokens = torch.tensor(tokenizer.encode(val_text), dtype=torch.long)
""",
    """
block_size, batch_size = 16, 8

def get_batch(tokens):
    starts = torch.randint(len(tokens) - block_size, (batch_size,))
    x = torch.stack([tokens[i : i + block_size] for i in starts])
    y = torch.stack([tokens[i + 1 : i + block_size + 1] for i in starts])
    return x, y
""",
    """
torch.manual_seed(0)
model = GPTLanguageModel(
    vocab_size=vocab_size, emb_size=32, block_size=block_size, layer_num=2, head_num=2, dropout=0.1
)
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
""",
    """
history, samples = [], []
for step in range(31):
    model.train()
    xb, yb = get_batch(train_tokens)
    logits, loss = model(xb, yb)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    if step % 10 == 0:
        model.eval()
        with torch.no_grad():
            _, val_loss = model(*get_batch(val_tokens))
        context = torch.tensor([tokenizer.encode(BEGIN)])
        sample = tokenizer.decode(model.generate(context, max_new_tokens=20)[0].tolist())
        print(step, loss.item(), val_loss.item(), sample)
        history.append(val_loss.item())
        samples.append(sample)
""",
    """
torch.save(model.state_dict(), weights)
model.load_state_dict(torch.load(weights, weights_only=True))
""",
)


def test_the_notebook_runs(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scope: dict[str, object] = {"corpus": str(corpus), "weights": tmp_path / "weights.pt"}
    for cell in CELLS:
        exec(compile(cell, "cell", "exec"), scope)  # noqa: S102
    history, samples = scope["history"], scope["samples"]
    assert isinstance(history, list)
    assert isinstance(samples, list)
    assert history[-1] < history[0] - 0.1
    assert all(sample[0] == "B" and len(sample) == 21 for sample in samples)
    assert "30 " in capsys.readouterr().out
