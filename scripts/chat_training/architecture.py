"""The two sizes, as Llama configurations."""

from dataclasses import dataclass, replace
from typing import Any

from tokenizers import Tokenizer

from .tokenizer import END_OF_TEXT, MAX_LENGTH_TOKENS, TURN_END


@dataclass(frozen=True)
class Size:
    name: str
    width: int
    layers: int
    heads: int
    feed_forward: int
    peak_learning_rate: float

    def at_rate(self, part: float) -> "Size":
        return replace(self, peak_learning_rate=part * self.peak_learning_rate)


SIZES = {
    "small": Size("small", width=128, layers=4, heads=4, feed_forward=384, peak_learning_rate=6e-3),
    "large": Size("large", width=256, layers=6, heads=8, feed_forward=768, peak_learning_rate=4e-3),
}


def build(size: Size, tokenizer: Tokenizer) -> Any:
    """An untrained `LlamaForCausalLM`, its embedding tied to its output."""
    from transformers import LlamaConfig, LlamaForCausalLM  # noqa: PLC0415 (training only)

    end_of_turn = tokenizer.token_to_id(TURN_END)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=size.width,
        intermediate_size=size.feed_forward,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        max_position_embeddings=MAX_LENGTH_TOKENS,
        rms_norm_eps=1e-5,
        rope_theta=10000.0,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=end_of_turn,
        pad_token_id=tokenizer.token_to_id(END_OF_TEXT),
    )
    model = LlamaForCausalLM(config)
    model.generation_config.eos_token_id = end_of_turn
    model.generation_config.pad_token_id = config.pad_token_id
    return model


def count_parameters(model: Any) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
