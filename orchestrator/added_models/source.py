"""Where a model comes from: a folder here, or one of the hub's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from orchestrator.added_models.errors import ModelError

Say = Callable[[str], None]

_GENERAL = ("*.json", "*.jinja", "*.model", "*.txt", "*.md", "LICENSE*")
_LFS = b"version https://git-lfs"


class Form(StrEnum):
    OPENVINO = "OpenVINO IR"
    HUGGING_FACE = "Hugging Face"


class Engine(StrEnum):
    OPENVINO_GENAI = "openvino_genai"
    VLLM = "vllm"


WEIGHTS = {
    Form.OPENVINO: ("openvino_*.xml", "openvino_*.bin"),
    Form.HUGGING_FACE: ("*.safetensors",),
}
PATTERNS = {form: (*weights, *_GENERAL) for form, weights in WEIGHTS.items()}
"""The files of a model, each directly in its folder; code of a model's own is never taken."""


@dataclass(frozen=True, slots=True)
class Source:
    folder: Path
    form: Form

    def files(self) -> list[Path]:
        found = {path for pattern in PATTERNS[self.form] for path in self.folder.glob(pattern)}
        return sorted(path for path in found if path.is_file())

    def weights_bytes(self) -> int:
        found = [path for path in self.files() if path.suffix in {".bin", ".safetensors"}]
        return sum(path.stat().st_size for path in found)


def find_source(given: str, say: Say) -> Source:
    """`given` is a folder, hf:ID or ov:ID; an id may end in @REVISION.

    Raises:
        ModelError: there is no model, it can't be downloaded, or it is not complete.
    """
    scheme, _, rest = given.partition(":")
    if scheme in {"hf", "ov"} and not Path(given).exists():
        return _checked(_download(scheme, rest, say))
    folder = Path(given).expanduser()
    if not folder.is_dir():
        raise ModelError(
            f"--from {given}: is not a folder here; give a folder, hf:ID for a model of the "
            "Hugging Face hub, or ov:ID for one of its OpenVINO collection"
        )
    return _checked(folder.resolve())


def _checked(folder: Path) -> Source:
    if (folder / "openvino_model.xml").is_file():
        source = Source(folder, Form.OPENVINO)
        _need(folder, "openvino_model.bin", "the weights")
    elif (folder / "openvino_language_model.xml").is_file():
        raise ModelError(
            f"{folder} holds a model of images and text (openvino_language_model.xml); only "
            "models of text alone can be added"
        )
    elif any(folder.glob("*.safetensors")):
        source = Source(folder, Form.HUGGING_FACE)
    else:
        raise ModelError(
            f"{folder} holds no model: there must be openvino_model.xml and .bin (OpenVINO IR), "
            "or config.json and *.safetensors (Hugging Face)"
        )
    for name, what in (
        ("config.json", "the architecture and the context's length"),
        ("tokenizer.json", "the tokenizer: chat_prompt counts tokens with it"),
        ("tokenizer_config.json", "the special tokens"),
    ):
        _need(folder, name, what)
    for file in source.files():
        with file.open("rb") as opened:
            if opened.read(len(_LFS)) == _LFS:
                raise ModelError(
                    f"{file} is a pointer of Git LFS, not the file: run `git lfs pull` there"
                )
    return source


def _need(folder: Path, name: str, what: str) -> None:
    if (folder / name).is_file():
        return
    hint = ""
    if name == "tokenizer.json":
        hint = (
            "; where there is another tokenizer, transformers writes it: "
            "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
        )
    raise ModelError(f"{folder} has no {name} ({what}){hint}")


def _download(scheme: str, rest: str, say: Say) -> Path:
    try:
        # In the environment through tokenizers; only this needs it.
        from huggingface_hub import snapshot_download  # noqa: PLC0415
    except ImportError:
        raise ModelError(
            f"--from {scheme}:{rest}: downloading needs the package huggingface_hub: install it; "
            f"{_by_hand(scheme, rest)}"
        ) from None
    name, _, revision = rest.partition("@")
    repository = f"OpenVINO/{name}" if scheme == "ov" and "/" not in name else name
    form = Form.OPENVINO if scheme == "ov" else Form.HUGGING_FACE
    say(f"getting {repository} from the hub")
    try:
        # It shows its progress, goes on where a download was cut, and takes what it has.
        found = snapshot_download(
            repository, revision=revision or None, allow_patterns=list(PATTERNS[form])
        )
    except Exception as error:  # noqa: BLE001 - its own, httpx's and the system's, by version
        raise ModelError(
            f"--from {scheme}:{rest}: {_why(error)}; {_by_hand(scheme, rest)}"
        ) from None
    return Path(found)


def _why(error: Exception) -> str:
    kind = type(error).__name__
    if kind == "GatedRepoError":
        return "its owner wants terms accepted, and then a token of yours in HF_TOKEN"
    if kind in {"RepositoryNotFoundError", "HFValidationError"}:
        return "the hub knows no such model, or shows it only with a token in HF_TOKEN"
    if kind == "RevisionNotFoundError":
        return "the model has no such revision"
    first = str(error).strip().partition("\n")[0][:160]
    return f"the hub can't be reached from here ({kind}: {first.rstrip('.')})"


def _by_hand(scheme: str, rest: str) -> str:
    weights = "openvino_*.xml and openvino_*.bin" if scheme == "ov" else "*.safetensors"
    name = rest.partition("@")[0].rpartition("/")[2] or "MODEL"
    return (
        "or copy these files of the model from a machine that has them into one folder here: "
        f"config.json, generation_config.json, tokenizer.json, tokenizer_config.json, "
        f"chat_template.jinja (where there is one) and {weights}; then give the folder: "
        f"--from ./{name}"
    )
