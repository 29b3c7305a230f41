import argparse
import fcntl
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.installation.environment import Environment
from scripts.installation.models import make_models
from scripts.installation.python_library import provide_libpython
from scripts.installation.redis_server import provide_redis
from scripts.installation.run import SetupError
from scripts.installation.say import Say

ROOT = Path(__file__).parents[2]
NEEDED_BYTES = 3 * 10**9
INTERRUPTED = 130


def main() -> int:
    argparse.ArgumentParser(prog="scripts/setup", description=__doc__).parse_args()
    say = Say(sys.stderr)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        with _alone(ROOT / ".fleet", say):
            _set_up(say)
    except SetupError as error:
        say.fail(str(error))
        return 1
    except KeyboardInterrupt:
        say.fail("interrupted; run it again to go on")
        return INTERRUPTED
    return 0


def _set_up(say: Say) -> None:
    environment = Environment(ROOT, say)
    environment.check()
    if not environment.is_complete():
        _check_space()
        environment.complete()
    provide_libpython(ROOT / ".venv", ROOT / ".fleet", say)
    provide_redis(ROOT / ".fleet", say)
    make_models(ROOT, say)


def _check_space() -> None:
    free = shutil.disk_usage(ROOT).free
    if free < NEEDED_BYTES:
        raise SetupError(
            f"{ROOT} has {free / 1e9:.1f} GB free, and set-up needs {NEEDED_BYTES / 1e9:.0f} GB"
        )


@contextmanager
def _alone(folder: Path, say: Say) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    with (folder / "setup.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say.step("waiting for another set-up of this folder")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main())
