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
    "test_keras_adapter.py",
    "test_keras_build.py",
    "test_keras_code.py",
    "test_keras_dropout.py",
    "test_keras_load.py",
    "test_keras_models.py",
    "test_keras_loops.py",
    "test_keras_gated.py",
    "test_keras_kernel.py",
    "test_keras_parts.py",
    "test_keras_safety.py",
    "test_keras_stacks.py",
    "test_keras_wrapped.py",
    "test_keras_signature.py",
    "test_keras_training.py",
    "test_notebook.py",
    "test_no_false_alarm.py",
    "test_mutations.py",
    "test_check.py",
    "test_activations.py",
    "test_rebuild.py",
    "test_recheck.py",
    "test_sweep_known.py",
    "test_sweep_against.py",
    "test_sweep_one.py",
    "test_sweep_site.py",
    "test_sweep_repro.py",
    "test_cli_cases.py",
    "test_pytest_plugin.py",
    "test_pytest_regression.py",
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
