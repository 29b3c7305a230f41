"""The model files that are made here, from what is in the packages."""

from pathlib import Path

from scripts.installation.run import run
from scripts.installation.say import Say

# What each script makes, relative to the project; it is called while one of them is missing.
MADE = {
    "make_embedder": tuple(
        f"model_repository/embedder/1/{name}"
        for name in ("model.xml", "model.bin", "tokenizer.json")
    ),
}


def make_models(root: Path, say: Say) -> None:
    for name, files in MADE.items():
        script = root / "scripts" / name
        if script.exists() and not all((root / file).exists() for file in files):
            say.step(f"model files, scripts/{name}")
            run([script], doing=f"scripts/{name}", on_line=say.detail, cwd=root)
            say.done()
