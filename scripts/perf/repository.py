"""Copies of the repositories with some settings changed, the models' files linked."""

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

# (model, config.pbtxt) → config.pbtxt
Edit = Callable[[str, str], str]


def copy_repositories(
    sources: Collection[Path], target: Path, models: Collection[str], edit: Edit
) -> tuple[Path, ...]:
    """`models` of every source under `target`, each config.pbtxt passed through `edit`."""
    copies = []
    for source in sources:
        copy = target / source.name
        copy.mkdir(parents=True)
        copies.append(copy)
        for model in sorted(source.iterdir()):
            if model.name in models:
                _copy_model(model, copy / model.name, edit)
    return tuple(copies)


def without_block(config: str, block: str) -> str:
    """Drop a top-level `block { … }` of a config.pbtxt, with whatever is nested in it."""
    match = re.search(rf"^{block}\s*\{{", config, re.MULTILINE)
    if match is None:
        return config
    depth, end = 1, match.end()
    while depth and end < len(config):
        depth += {"{": 1, "}": -1}.get(config[end], 0)
        end += 1
    return config[: match.start()] + config[end:].lstrip("\n")


@dataclass(frozen=True)
class Setting:
    """One setting of one model's config.pbtxt, to be tried in a copy."""

    model: str
    name: str
    value: str

    @classmethod
    def parse(cls, text: str) -> "Setting":
        """From `model.name=value`; raises ValueError."""
        match = re.fullmatch(r"([\w-]+)\.([\w.]+)=(.+)", text)
        if match is None:
            raise ValueError(
                f"{text!r} is no setting like embedder.max_queue_delay_microseconds=2000"
            )
        return cls(*match.groups())

    def apply(self, config: str) -> str:
        """`config` with every `name: …` of this name changed; raises ValueError without one."""
        if self.name.startswith("openvino."):
            quoted = f'key: "{self.name}" value: {{ string_value: "{self.value}" }}'
            return f"{config}\nparameters {{ {quoted} }}\n"
        pattern = rf"\b{re.escape(self.name)}:\s*(\[[^\]]*\]|[^\s\]}},]+)"
        changed, count = re.subn(pattern, f"{self.name}: {self.value}", config)
        if count == 0:
            raise ValueError(f"{self.model}/config.pbtxt has no {self.name!r} to change")
        return changed


def with_settings(settings: Iterable[Setting]) -> Edit:
    chosen = list(settings)

    def edit(model: str, config: str) -> str:
        for setting in chosen:
            if setting.model == model:
                config = setting.apply(config)
        return config

    return edit


def without_batching(model: str, config: str) -> str:  # noqa: ARG001 - the same for every model
    return without_block(config, "dynamic_batching")


def _copy_model(model: Path, copy: Path, edit: Edit) -> None:
    copy.mkdir()
    for entry in model.iterdir():
        if entry.name == "config.pbtxt":
            (copy / entry.name).write_text(edit(model.name, entry.read_text()))
        else:
            (copy / entry.name).symlink_to(entry.resolve())
