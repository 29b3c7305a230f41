"""Forks processes that have everything imported, so that hundreds can be killed in a minute.

Reads orders, a line each, from stdin, and answers each with a pid.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback

from scripts.chaos_trials.orders import Orders
from scripts.chaos_trials.process import run


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead are not waited for
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _become(line)
        print(pid, flush=True)


def _become(line: str) -> None:
    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, 0)
        os.dup2(nowhere, 1)
        run(Orders.from_json(line))
        status = 0
    except BaseException:  # noqa: BLE001 - the fork must not go on as the zygote
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    main()
