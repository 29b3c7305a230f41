"""The keys of an `openvino_genai` model's `1/model.json`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from backends.llm_serving.errors import SettingsError
from backends.llm_serving.serving import Serving
from backends.llm_serving.settings import read_settings

NEEDED_FILES = (
    "openvino_model.xml",
    "openvino_model.bin",
    "openvino_tokenizer.xml",
    "openvino_detokenizer.xml",
)


@dataclass(frozen=True, slots=True)
class Scheduler:
    """Fields of OpenVINO GenAI's SchedulerConfig."""

    cache_size: int = 1
    """GiB of KV cache."""
    max_num_batched_tokens: int = 2048
    max_num_seqs: int = 256
    dynamic_split_fuse: bool = True
    enable_prefix_caching: bool = True

    def __post_init__(self) -> None:
        for name in ("cache_size", "max_num_batched_tokens", "max_num_seqs"):
            if getattr(self, name) < 1:
                raise ValueError(f"'{name}' must be at least 1, not {getattr(self, name)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(Serving):
    model: str
    """Folder of the OpenVINO IR, relative to the version folder."""
    device: str = "CPU"
    max_model_len: int | None = None
    """Tokens of prompt and answer together; by default what the model's config.json says."""
    scheduler: Scheduler = Scheduler()
    properties: Mapping[str, object] = field(default_factory=dict)
    """Handed to the OpenVINO plug-in, such as {"INFERENCE_PRECISION_HINT": "f32"}."""
    add_special_tokens: bool = True


def load_settings(version_folder: Path) -> tuple[Settings, Path]:
    """The settings and the model's folder; raises SettingsError."""
    path = version_folder / "model.json"
    settings = read_settings(Settings, path)
    folder = version_folder / settings.model
    if not folder.is_dir():
        raise SettingsError(f"{path}: 'model' names the folder {folder}, which does not exist")
    missing = [name for name in NEEDED_FILES if not (folder / name).is_file()]
    if missing:
        raise SettingsError(
            f"{path}: the folder {folder} lacks {', '.join(missing)}; "
            "it must hold a model in OpenVINO's IR format with its tokenizer"
        )
    return settings, folder
