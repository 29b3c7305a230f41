"""The training's own attention computes what PyTorch's does."""

from typing import Any

import pytest

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed (scripts/chat_training/requirements.txt)"
)

from scripts.chat_training.architecture import Size, build  # noqa: E402
from scripts.chat_training.attention import attend_in_blocks  # noqa: E402
from scripts.chat_training.tokenizer import train_tokenizer  # noqa: E402


@pytest.mark.parametrize("length", [1, 64, 150])
def test_attention_in_blocks_changes_neither_the_output_nor_the_gradients(length: int) -> None:
    torch.manual_seed(0)
    size = Size("tiny", width=16, layers=2, heads=2, feed_forward=16, peak_learning_rate=1e-3)
    model = build(size, train_tokenizer(1, ["What is 2 + 2?"]))
    ids = torch.randint(0, model.config.vocab_size, (3, length))

    def run() -> list[Any]:
        model.zero_grad()
        logits = model(ids).logits
        logits.square().mean().backward()
        return [logits.detach(), *(parameter.grad.clone() for parameter in model.parameters())]

    usual = run()
    attend_in_blocks(model)
    for ours, theirs in zip(run(), usual, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5, rtol=1e-3)
