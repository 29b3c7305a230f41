"""A Redis or Valkey server of our own: finding it, starting it, stopping it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

OLDEST = (7, 0)
READY_S = 20.0
STOP_S = 10.0
PROBE_S = 1.0
NAMES = ("redis-server", "valkey-server")
HOST = "127.0.0.1"


class RedisServerError(Exception):
    """There is no server to be had, in one sentence."""


@dataclass(frozen=True, slots=True)
class ServerProgram:
    """`libraries` is a folder its shared libraries lie in; None for the system's."""

    path: Path
    version: tuple[int, int]
    libraries: Path | None = None

    def environment(self) -> dict[str, str]:
        environment = dict(os.environ)
        if self.libraries is not None:
            others = environment.get("LD_LIBRARY_PATH")
            environment["LD_LIBRARY_PATH"] = ":".join(filter(None, (str(self.libraries), others)))
        return environment

    def command(self, *, port: int, folder: Path, fsync: str = "everysec") -> list[str]:
        """The command line of a server on loopback that keeps its data in `folder`."""
        options = {
            "bind": HOST,
            "port": str(port),
            "dir": str(folder),
            "appendonly": "yes",
            "appendfsync": fsync,
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
            # A title is written over the environment, by which the supervisor knows its processes.
            "set-proc-title": "no",
            "logfile": str(folder / "redis.log"),
        }
        return [str(self.path), *(part for k, v in options.items() for part in (f"--{k}", v))]


def find_program(explicit: Path | None = None, *, extracted: Path | None = None) -> ServerProgram:
    """Finds a server: the one named, else on PATH, else beneath the folder of extracted packages.

    Raises:
        RedisServerError: there is none, or it is older than 7.0.
    """
    if explicit is not None:
        return _program(explicit, _libraries(explicit))
    on_path = [Path(found) for name in NAMES if (found := shutil.which(name))]
    unpacked = sorted(p for name in NAMES for p in (extracted or Path()).glob(f"**/usr/bin/{name}"))
    too_old: RedisServerError | None = None
    for path in (*on_path, *(unpacked if extracted else ())):
        try:
            return _program(path, _libraries(path))
        except RedisServerError as error:
            too_old = error
    raise too_old or RedisServerError(
        "there is no redis-server or valkey-server on PATH; install one of 7.0 or newer, "
        "or let scripts/setup fetch one"
    )


def _libraries(path: Path) -> Path | None:
    folder = path.parent.parent / "lib" / "x86_64-linux-gnu"
    system = path.parent in (Path("/usr/bin"), Path("/bin"))
    return folder if folder.is_dir() and not system else None


def _program(path: Path, libraries: Path | None) -> ServerProgram:
    program = ServerProgram(path, (0, 0), libraries)
    try:
        answer = subprocess.run(
            [str(path), "--version"],
            env=program.environment(),
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise RedisServerError(f"{path} does not run: {error}") from error
    found = re.search(r"v=(\d+)\.(\d+)", answer)
    if found is None:
        raise RedisServerError(f"{path} is no Redis or Valkey server; it said {answer[:60]!r}")
    version = (int(found[1]), int(found[2]))
    if version < OLDEST:
        raise RedisServerError(f"{path} is version {version[0]}.{version[1]}; 7.0 is needed")
    return ServerProgram(path, version, libraries)


class RedisServer:
    """One server process: `async with RedisServer(program, port=…, folder=…) as server`."""

    def __init__(
        self, program: ServerProgram, *, port: int, folder: Path, fsync: str = "everysec"
    ) -> None:
        self._command = program.command(port=port, folder=folder, fsync=fsync)
        self._environment = program.environment()
        self._folder = folder
        self._port = port
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self._port}/0"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Starts it and waits until it answers.

        Raises:
            RedisServerError: the port is taken, or it ended or did not get ready in time.
        """
        if not _is_free(self._port):
            raise RedisServerError(f"port {self._port} for Redis is taken; choose another")
        self._folder.mkdir(parents=True, exist_ok=True)
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(READY_S):
                while not await answers(self._port):
                    if self._process.returncode is not None:
                        raise RedisServerError(f"Redis ended at its start: {self._last_words()}")
                    await asyncio.sleep(0.02)
        except TimeoutError as error:
            await self.kill()
            raise RedisServerError(
                f"Redis was not ready within {READY_S:.0f} s: {self._last_words()}"
            ) from error

    async def stop(self) -> None:
        """Lets it write what it has, then ends it."""
        await self._end(terminate=True)

    async def kill(self) -> None:
        """Ends it as a crash would."""
        await self._end(terminate=False)

    async def _end(self, *, terminate: bool) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            if terminate:
                process.terminate()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), STOP_S)
            if process.returncode is None:
                process.kill()
        await process.wait()

    def _last_words(self) -> str:
        log = self._folder / "redis.log"
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return lines[-1] if lines else "it wrote no log"

    async def __aenter__(self) -> RedisServer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


async def answers(port: int) -> bool:
    """Whether a server on loopback answers a PING there within a second."""
    try:
        async with asyncio.timeout(PROBE_S):
            reader, writer = await asyncio.open_connection(HOST, port)
            writer.write(b"PING\r\n")
            answer = await reader.readline()
            writer.close()
            await writer.wait_closed()
    except (OSError, TimeoutError):
        return False
    return answer == b"+PONG\r\n"


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
