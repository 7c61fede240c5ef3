"""All tests and the recorded cases under other matrix kernels than this processor's own.

What rounds otherwise on another machine (another order of summation, with or without fused
multiply-add) does so here, too: every setting below selects kernels that some processor runs.
`make kernels` prints one line for each setting; what pytest said stands in build/kernels.
Names of settings select some of them, other arguments go to pytest in place of `-n auto`:
`tests/kernels.py Zen -n1 tests/docs`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOGS = ROOT / "build" / "kernels"
CASES = ROOT / "fixtures" / "cases"

WITHOUT_AVX512 = "X86_V4 AVX512_ICL AVX512_SPR"
"""NumPy's own loops (exp, tanh, sums) that AMD's processors before Zen 4 do not have."""

SETTINGS: dict[str, dict[str, str]] = {
    # The oldest kernels: no AVX, no fused multiply-add, Eigen's products in TensorFlow.
    "SSE": {
        "OPENBLAS_CORETYPE": "Prescott",
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "XLA_FLAGS": "--xla_cpu_max_isa=SSE4_2",
        "NPY_DISABLE_CPU_FEATURES": f"X86_V3 {WITHOUT_AVX512}",
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX512F",
        "THREADS": "1",
    },
    # AVX2 and oneDNN's operations, which TensorFlow takes by itself on Intel's processors.
    "Haswell": {
        "OPENBLAS_CORETYPE": "Haswell",
        "TF_ENABLE_ONEDNN_OPTS": "1",
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
        "THREADS": "2",
    },
    # AVX-512 where this processor has it.
    "SkylakeX": {
        "OPENBLAS_CORETYPE": "SkylakeX",
        "TF_ENABLE_ONEDNN_OPTS": "1",
        "THREADS": "1",
    },
    # AMD: AVX2 throughout, and TensorFlow without oneDNN's operations.
    "Zen": {
        "OPENBLAS_CORETYPE": "Zen",
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
        "NPY_DISABLE_CPU_FEATURES": WITHOUT_AVX512,
        "THREADS": "2",
    },
}
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")


def environment(setting: dict[str, str]) -> dict[str, str]:
    """This process's environment with the setting in place of its own."""
    chosen = {name: value for name, value in setting.items() if name != "THREADS"}
    threads = dict.fromkeys(THREADS, setting["THREADS"])
    return {**os.environ, **chosen, **threads, "TF_CPP_MIN_LOG_LEVEL": "3"}


def blas(environ: dict[str, str]) -> str:
    """What NumPy's BLAS says of itself in this environment; a name that it does not know changes
    nothing."""
    script = (
        "import numpy, threadpoolctl; "
        "print(*[i.get('architecture') for i in threadpoolctl.threadpool_info()][:1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def tested(name: str, environ: dict[str, str], arguments: list[str]) -> tuple[bool, str]:
    """Whether pytest passed, and its last line."""
    log = LOGS / f"{name}.txt"
    with log.open("w") as file:
        command = [sys.executable, "-m", "pytest", "-v", "-o", "addopts=-rfE", *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=environ, stdout=file, stderr=subprocess.STDOUT, check=False
        )
    last = (log.read_text().strip().splitlines() or ["nothing was said"])[-1]
    return done.returncode == 0, re.sub(r"^=+ | in [\d.]+s.*", "", last)


def checked(environ: dict[str, str]) -> tuple[bool, str]:
    """Whether every recorded case is in parity, and how many are."""
    command = [sys.executable, "-m", "rnn_parity", "check", str(CASES), "--format", "json"]
    done = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    if not done.stdout:
        return False, done.stderr.strip()
    checks = json.loads(done.stdout)["checks"]
    right = sum(check["verdict"] == "parity" for check in checks)
    return done.returncode == 0, f"{right} of {len(checks)} recorded cases in parity"


def main(arguments: list[str]) -> int:
    LOGS.mkdir(parents=True, exist_ok=True)
    chosen = [name for name in SETTINGS if name in arguments] or list(SETTINGS)
    others = [argument for argument in arguments if argument not in SETTINGS] or ["-n", "auto"]
    failed = False
    for name in chosen:
        start, environ = time.monotonic(), environment(SETTINGS[name])
        tests, said = tested(name, environ, others)
        cases, parity = checked(environ)
        failed |= not (tests and cases)
        ok = "passed" if tests and cases else "FAILED"
        took = time.monotonic() - start
        print(f"{name} (BLAS {blas(environ)}): {ok}: {said}; {parity}; {took:.0f} s", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
