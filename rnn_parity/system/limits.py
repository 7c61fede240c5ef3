"""How much is read and computed at most, so that no small file takes all memory.

The standard library alone.
"""

from __future__ import annotations

import math
import os

from rnn_parity.errors import InputError

VARIABLE = "RNN_PARITY_MOST_GIB"
"""The environment variable that sets another limit."""
MOST_GIB = 8
"""What the inputs, outputs and weights of one check may take in float64, in GiB.

Chosen: half of the memory of a machine with 16 GiB, since a check holds some of them twice. At half
of it, recorded data of real models are refused; at double, such a machine swaps.
"""
SHARE_OF_FILE = 4
"""One file may hold this part of it, decompressed: its float32 numbers double in float64, and what
is computed from them takes as much again."""
SHARE_OF_TEXT = 32
"""A description (JSON, TOML) may be this part of that: "[]," takes 3 bytes there and 64 here."""
ARRAYS = "inputs, outputs and weights"


def most_bytes() -> int:
    """How many bytes the arrays of one check may take in float64."""
    given = os.environ.get(VARIABLE)
    if given is None:
        return MOST_GIB * 2**30
    try:
        found = int(float(given) * 2**30)
    except (ValueError, OverflowError):
        found = 0
    if found <= 0:
        raise InputError(f"{VARIABLE}: expected a number of GiB above 0, received {given!r}")
    return found


def most_of_file() -> int:
    """How many bytes one file may hold, decompressed."""
    return most_bytes() // SHARE_OF_FILE


def gib(count: float) -> str:
    """A number of bytes in GiB, or in smaller units where those say more."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"


def check_content(size: int, where: str, what: str = "a file", share: int = 1) -> None:
    """Raise `InputError` when what a file holds, `size` bytes once decompressed, is too much.

    What takes more memory than bytes may hold a `share` of the limit.
    """
    most = most_of_file() // share
    if size > most:
        enough = math.ceil(SHARE_OF_FILE * share * size / 2**30)
        raise InputError(
            f"{where}: expected at most {gib(most)}, received {what} of {gib(size)}; "
            f"name a smaller one, or set {VARIABLE}={enough}"
        )


def check_numbers(count: int, where: str, advice: str, what: str = ARRAYS) -> None:
    """Raise `InputError` when `count` numbers, in the replay's float64, take more than they may."""
    if count * 8 > most_bytes():
        raise InputError(
            f"{where}: expected {what} of at most {gib(most_bytes())} in float64, received about "
            f"{gib(count * 8)}; {advice}, or set {VARIABLE}={math.ceil(count / 2**27)}"
        )
