"""Makes the Qwen2 with random weights that the tests add, in a folder of each form.

`python make_tiny_qwen2.py FOLDER`, in the environment of scripts/chat_training/requirements.txt,
writes FOLDER/hugging_face and FOLDER/openvino; tiny_qwen2/ here is a copy of the latter.
"""

import subprocess
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

TEMPLATE = """\
{%- if tools %}<|im_start|>system
{{ messages[0].content + '\\n' if messages[0].role == 'system' else '' -}}
Answer a question, or write <tool_call>{"name": …, "arguments": …}</tool_call>. Tools:
{%- for tool in tools %}
{{ tool.function | tojson }}
{%- endfor %}<|im_end|>
{% endif %}
{%- for message in messages %}
{%- if not (tools and loop.first and message.role == 'system') -%}
<|im_start|>{{ message.role }}
{{ message.content or '' }}
{%- for call in message.tool_calls or [] -%}
<tool_call>{{ {'name': call.function.name, 'arguments': call.function.arguments} | tojson -}}
</tool_call>
{%- endfor %}<|im_end|>
{% endif %}
{%- endfor %}<|im_start|>assistant
"""
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def tokenizer() -> PreTrainedTokenizerFast:
    """A token a byte: no merges."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    bytes_only = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(letters)}, merges=[]))
    bytes_only.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_only.decoder = decoders.ByteLevel()
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=bytes_only,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
        clean_up_tokenization_spaces=False,
    )
    wrapped.chat_template = TEMPLATE
    return wrapped


def main(folder: Path) -> None:
    torch.manual_seed(7)
    made = tokenizer()
    config = Qwen2Config(
        vocab_size=len(made),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        eos_token_id=made.convert_tokens_to_ids("<|im_end|>"),
        pad_token_id=made.convert_tokens_to_ids("<|endoftext|>"),
        bos_token_id=None,
    )
    hugging_face, openvino = folder / "hugging_face", folder / "openvino"
    Qwen2ForCausalLM(config).save_pretrained(hugging_face)
    made.save_pretrained(hugging_face)
    subprocess.run(
        [
            Path(sys.executable).with_name("optimum-cli"),
            *("export", "openvino", "--model", hugging_face, "--weight-format", "fp16"),
            *("--task", "text-generation-with-past", openvino),
        ],
        check=True,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
