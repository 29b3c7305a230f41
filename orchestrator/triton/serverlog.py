"""Reads a tritonserver's log as it grows: which models load, and why one does not."""

import re
from dataclasses import dataclass, field
from pathlib import Path

LOADING = re.compile(r"\bloading: (?P<model>[^:\"]+):\d+")
LOADED = re.compile(r"successfully loaded '(?P<model>[^']+)'")
FAILED = (
    re.compile(r"failed to load '(?P<model>[^']+)' version \d+: (?P<why>.*)"),
    re.compile(r"failed to load model '(?P<model>[^']+)': (?P<why>.*)"),
    re.compile(r"Poll failed for model directory '(?P<model>[^']+)': (?P<why>.*)"),
    re.compile(
        r"ensemble '?(?P<model>[^' ]+)'? (?P<why>(?:contains models|depends on|allows maximum).*)"
    ),
)
SYNTAX = re.compile(r"Error parsing text-format inference\.ModelConfig: (?P<why>.*)")
TROUBLE = re.compile(
    r"^E\d{4}|^error:|error while loading|unrecognized option|failed to start|already in use",
    re.IGNORECASE,
)
# Said by every server on a machine without a GPU.
HARMLESS = re.compile(r"CudaDriverHelper|NVML|DCGM|unable to create stream|pinned")
PLACE = re.compile(r"At:\s+\S*?(?P<file>[^/\s]+)\((?P<line>\d+)\)")
PREFIX = re.compile(r"^[EIWF]\d{4} \S+ \d+ \S+\] +\"?")
MAX_SENTENCE_CHARS = 400


@dataclass(slots=True)
class ServerLog:
    """Follows the file from `offset` bytes on."""

    path: Path
    offset: int = 0
    loading: set[str] = field(default_factory=set)
    loaded: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    trouble: list[str] = field(default_factory=list)
    _syntax: str = ""
    _rest: bytes = b""

    def read(self) -> None:
        with self.path.open("rb") as file:
            file.seek(self.offset)
            data = file.read()
        self.offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._take(line.decode(errors="replace"))

    def _take(self, line: str) -> None:
        if found := SYNTAX.search(line):
            self._syntax = found["why"]
        elif found := LOADED.search(line):
            self.loaded.add(found["model"])
        elif found := LOADING.search(line):
            self.loading.add(found["model"])
        elif not self._take_failure(line) and TROUBLE.search(line) and not HARMLESS.search(line):
            self.trouble.append(PREFIX.sub("", line).rstrip('"'))

    def _take_failure(self, line: str) -> bool:
        for pattern in FAILED:
            if found := pattern.search(line):
                why = found["why"].rstrip('"')
                if "text proto" in why and self._syntax:
                    why = f"its config.pbtxt does not parse: line {self._syntax}"
                self.failed.setdefault(found["model"], one_sentence(why))
                return True
        return False


def one_sentence(reason: str) -> str:
    """Triton's reason without its error class and traceback, but with the traceback's place."""
    text = reason.replace("\\n", "\n").replace("\\'", "'").replace('\\"', '"')
    said, _, _ = text.partition("\nAt:")
    said = " ".join(said.split())
    said = re.sub(r"^(Internal|Invalid argument|Unavailable|Not found|Unknown): ", "", said)
    if place := PLACE.search(text):
        said = f"{said} ({place['file']}, line {place['line']})"
    return said[:MAX_SENTENCE_CHARS]
