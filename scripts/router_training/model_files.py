import re
from pathlib import Path

from backends.classifier.head import Head
from scripts.router_training.requests import InvalidDataError

_PROBABILITIES_DIMS = re.compile(r'"PROBABILITIES".*?dims:\s*\[\s*(\d+)\s*\]', re.DOTALL)


def check_dimensions(repository: Path, head: str, labels: list[str]) -> None:
    """Raises InvalidDataError when the model's config.pbtxt has another number of labels."""
    config = repository / f"{head}_classifier" / "config.pbtxt"
    match = _PROBABILITIES_DIMS.search(config.read_text())
    found = int(match[1]) if match else None
    if found != len(labels):
        raise InvalidDataError(
            f"the data has {len(labels)} {head} labels ({', '.join(labels)}), {config} has "
            f"PROBABILITIES of dims [{found}]; set {len(labels)} there and for {head.upper()} in "
            f"ensembles/agent_router/config.pbtxt, then train again"
        )


def write_head(repository: Path, name: str, head: Head, labels: list[str]) -> None:
    model = repository / f"{name}_classifier"
    (model / "1").mkdir(exist_ok=True)
    head.save(model / "1")
    (model / "labels.txt").write_text("".join(f"{label}\n" for label in labels))
