"""A trained model as a Hugging Face folder (for vLLM) and as an OpenVINO IR folder."""

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from .template import TEMPLATE_PATH
from .tokenizer import END_OF_TEXT, MAX_LENGTH_TOKENS, TURN_END, TURN_START


def _hugging_face_tokenizer(tokenizer: Tokenizer) -> Any:
    from transformers import PreTrainedTokenizerFast  # noqa: PLC0415 (training only)

    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=TURN_END,
        pad_token=END_OF_TEXT,
        additional_special_tokens=[TURN_START],
        model_max_length=MAX_LENGTH_TOKENS,
        clean_up_tokenization_spaces=False,
    )
    wrapped.chat_template = TEMPLATE_PATH.read_text(encoding="utf-8")
    return wrapped


def export_hugging_face(model: Any, tokenizer: Tokenizer, folder: Path) -> None:
    model.to("cpu").half().eval().save_pretrained(folder)
    _hugging_face_tokenizer(tokenizer).save_pretrained(folder)


def export_openvino(hugging_face: Path, tokenizer: Tokenizer, folder: Path) -> None:
    """Weights as float16. The detokenizer skips special tokens; one that keeps them fails to
    compile inside OpenVINO GenAI, which turns that choice into a state of the model."""
    import openvino  # noqa: PLC0415
    from openvino_tokenizers import convert_tokenizer  # noqa: PLC0415
    from optimum.intel import OVModelForCausalLM  # noqa: PLC0415 (training only)

    folder.mkdir(parents=True, exist_ok=True)
    exported = OVModelForCausalLM.from_pretrained(
        hugging_face, export=True, compile=False, load_in_8bit=False
    )
    exported.half()
    exported.save_pretrained(folder)
    wrapped = _hugging_face_tokenizer(tokenizer)
    wrapped.save_pretrained(folder)
    encoder, decoder = convert_tokenizer(wrapped, with_detokenizer=True, skip_special_tokens=True)
    openvino.save_model(encoder, folder / "openvino_tokenizer.xml")
    openvino.save_model(decoder, folder / "openvino_detokenizer.xml")
    _drop_local_paths(folder)


def _drop_local_paths(folder: Path) -> None:
    """Configurations must not name the folder they were made from."""
    for path in folder.glob("*.json"):
        if path.name == "tokenizer.json":
            continue
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("_name_or_path", None) is not None:
            path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
