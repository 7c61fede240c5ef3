"""The main job and the tests that touch Keras, under the TensorFlow release that is installed.

`make compat` runs this in one virtual environment for each release; it ends with a line each.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent
TOUCH_KERAS = (
    "keras_adapter",
    "api/test_check.py",
    "api/test_no_false_alarm.py",
    "api/test_notebook.py",
    "api/test_rechecking.py",
    "cli/test_cli_cases.py",
    "diagnosis/test_mutations.py",
    "pytest_plugin/test_pytest_plugin.py",
    "pytest_plugin/test_pytest_regression.py",
    "recurrence/test_activations.py",
    "sweep/test_sweep_against.py",
    "diagnosis/test_known_differences.py",
    "api/test_known_in_checks.py",
    "sweep/test_sweep_bug_report.py",
    "sweep/test_sweep_worker.py",
)


def main() -> int:
    command = [sys.executable, "-m", "rnn_parity", "check", "--mode", "all", "--format", "json"]
    check = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    tests = [str(TESTS / name) for name in TOUCH_KERAS]
    suite = subprocess.run([sys.executable, "-m", "pytest", "-q", *tests], check=False)
    if not check.stdout:  # what went wrong stands on stderr
        return check.returncode
    document = json.loads(check.stdout)
    environment = document["environment"]
    bits = ", ".join(
        f"{c['subject']['mode']} {c['effective_bits']:.1f}" for c in document["checks"]
    )
    print(
        f"TensorFlow {environment['tensorflow']}, Keras {environment['keras']}, NumPy "
        f"{environment['numpy']}: {document['verdict']} (effective bits: {bits}); "
        f"tests {'passed' if suite.returncode == 0 else 'FAILED'}"
    )
    return check.returncode or suite.returncode


if __name__ == "__main__":
    sys.exit(main())
