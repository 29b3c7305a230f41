"""Debian packages without root: fetched by apt-get, unpacked into a folder."""

import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from scripts.installation.run import SetupError, run

ARCHIVE = re.compile(r"^'[^']+' (?P<name>[a-z0-9.+-]+)_")


def fetch_debs(packages: Sequence[str], target: Path, apt: Path) -> None:
    """Unpack the packages, and those they need that this system lacks, into `target`.

    Args:
        apt: a folder for package lists of our own, for where the system's are empty or old.

    Raises:
        SetupError: there is no apt, no network, or no such package.
    """
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise SetupError(f"{packages[0]} is not here, and there is no apt-get to fetch it with")
    try:
        _fetch(packages, target, [])
    except SetupError:
        _fetch(packages, target, _own_lists(apt))


def _own_lists(apt: Path) -> list[str]:
    lists, cache = apt / "lists", apt / "cache"
    for folder in (lists / "partial", cache / "archives" / "partial"):
        folder.mkdir(parents=True, exist_ok=True)
    settings = {"Dir::State::lists": lists, "Dir::Cache": cache, "Debug::NoLocking": "1"}
    if os.geteuid() == 0:
        # Else apt drops to a user of its own, who may not write here.
        settings["APT::Sandbox::User"] = "root"
    options = [f"-o{name}={value}" for name, value in settings.items()]
    run(["apt-get", *options, "-qq", "update"], doing="apt-get update")
    return options


def _fetch(packages: Sequence[str], target: Path, options: Sequence[str]) -> None:
    doing = f"fetching {packages[0]}"
    try:
        names = sorted({*packages, *_missing(packages, options)})
    except SetupError:
        if not options:
            raise
        # A system with broken packages resolves nothing; what is asked for may still do alone.
        names = list(packages)
    with tempfile.TemporaryDirectory(prefix="fleet-debs-") as folder:
        run(["apt-get", *options, "-q", "download", *names], doing=doing, cwd=Path(folder))
        archives = sorted(Path(folder).glob("*.deb"))
        if not archives:
            raise SetupError(f"{doing} failed: apt-get downloaded nothing")
        target.mkdir(parents=True, exist_ok=True)
        for archive in archives:
            run(["dpkg-deb", "-x", archive, target], doing=f"unpacking {archive.name}")


def _missing(packages: Sequence[str], options: Sequence[str]) -> list[str]:
    wanted = ["--print-uris", "-y", "-qq", "--no-install-recommends", "install", *packages]
    lines = run(
        ["apt-get", *options, "-oDebug::NoLocking=1", *wanted],
        doing=f"looking for {packages[0]}",
    )
    return [found["name"] for line in lines if (found := ARCHIVE.match(line))]
