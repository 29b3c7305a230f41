"""An engine's process that says it is ready and then neither reads nor ends.

Run as `python -m tests.backends.llm_serving.stubborn_engine FD FOLDER`; with a file `slow` in the
folder it never says so.
"""

import signal
import sys
from multiprocessing.connection import Connection
from pathlib import Path

from backends.llm_serving.wire import Ready

LIFETIME_S = 60

if __name__ == "__main__":
    folder = Path(sys.argv[2])
    connection = Connection(int(sys.argv[1]))
    (folder / "began").touch()
    if not (folder / "slow").exists():
        connection.send(Ready())
    # Nobody may be left to end it.
    signal.alarm(LIFETIME_S)
    while True:
        signal.pause()
