"""Growing a trained model; needs PyTorch."""

import pytest

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed (scripts/chat_training/requirements.txt)"
)
pytest.importorskip(
    "transformers", reason="PyTorch is not installed (scripts/chat_training/requirements.txt)"
)


def test_a_grown_model_computes_what_the_small_one_computes() -> None:
    from scripts.chat_training.architecture import SIZES, build  # noqa: PLC0415
    from scripts.chat_training.growth import grow  # noqa: PLC0415
    from scripts.chat_training.tokenizer import train_tokenizer  # noqa: PLC0415

    tokenizer = train_tokenizer(1, ["a few words"])
    torch.manual_seed(0)
    small = build(SIZES["small"], tokenizer).eval()
    for parameter in small.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    large = build(SIZES["large"], tokenizer).eval()

    large.load_state_dict(grow(small.state_dict(), layers=SIZES["large"].layers, seed=1))

    ids = torch.randint(0, tokenizer.get_vocab_size(), (2, 40))
    with torch.no_grad():
        assert torch.allclose(small(ids).logits, large(ids).logits, atol=1e-3)
