"""What the tests of programs and processes share."""

import os
import time
from pathlib import Path


def gone(pid):
    """Whether a process has ended, or is about to."""
    for _ in range(2000):
        try:
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
        except (ProcessLookupError, FileNotFoundError):
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False
