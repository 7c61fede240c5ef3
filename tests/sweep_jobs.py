"""What the workers of the tests are given to do, importable in any process; and layers to sweep."""

import os
import signal
import time
from pathlib import Path

from rnn_parity.errors import InputError
from rnn_parity.sweep.space import RULES, SPACES, Site


def square(n):
    return n * n


def slow_square(n):
    time.sleep(0.05)
    return n * n


def for_ever_but_one(n):
    """Answers for 1 alone."""
    while n != 1:
        time.sleep(600)
    return n


def die_of_five(n, folder):
    """Kills its process over 5, once; leaves a file for each time it was asked."""
    times = len(list(Path(folder).glob(f"{n}-*")))
    (Path(folder) / f"{n}-{times}").touch()
    if n == 5 and times == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return n * n


def always_die_of_five(n):
    if n == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return n * n


def refuse_five(n):
    if n == 5:
        raise InputError("five: expected another number")
    return n


def process_id(n):
    time.sleep(0.05)
    return os.getpid()


def printed(n):
    print("not the answer")
    return n


def site(layer="simple_rnn", rules=RULES, **space):
    """A site that takes everything, or these values of some options and the defaults of others."""
    only = {name: values[:1] for name, values in SPACES[layer].items()}
    environment = {"python": "3", "numpy": "2", "tensorflow": "2", "keras": "3", "device": "cpu"}
    return Site(layer, environment, {**(only if space else SPACES[layer]), **space}, rules)
