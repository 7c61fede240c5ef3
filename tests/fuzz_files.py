"""Damaged files of every kind that is read: no crash, no silent pass, no hang, no large memory.

`make fuzz` runs 10,000 of them through the command line's own function, each kind in a process of
its own that is started again where it dies or hangs, and prints a table. `--kind NAME`, `--count N`
and `--seed N` select; `--keep FOLDER` keeps what was found. Every input follows from its kind and
its number alone.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SECONDS = 20.0
"""Longer than any of the small seeds takes, even on a busy machine; a hang takes for ever."""
MOST_MEMORY = 16 * 2**30
"""What a process may take of address space: TensorFlow reserves some, a bomb would take more."""
LARGE = 512
"""MiB that no damaged file of a few kilobytes has a reason to take."""
ROOT = Path(__file__).resolve().parents[1]
CASES = ROOT / "fixtures" / "cases" / "keras-3.15.1"
COUNTS = {
    "case": 2200,
    "npy": 700,
    "npz": 900,
    "csv": 700,
    "keras": 800,
    "h5": 1000,
    "onnx": 1200,
    "onnx-against": 600,
    "tflite": 400,
    "safetensors": 400,
    "toml": 500,
    "baseline": 500,
    "journal": 500,
}
"""How many inputs of each kind make 10,000, beside those that PyTorch has to be there for."""
PARITY = 0


class TooLong(BaseException):
    """An input took longer than `SECONDS`."""


# How a file is damaged.

Rng = np.random.Generator
INTERESTING = [0, 1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1]


def place(rng: Rng, data: bytes) -> tuple[int, int]:
    """A short range in `data`."""
    start = int(rng.integers(0, max(len(data), 1)))
    return start, min(len(data), start + int(rng.choice([1, 2, 4, 8, 64, 512])))


def flipped(rng: Rng, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        if changed:
            changed[int(rng.integers(0, len(changed)))] ^= 1 << int(rng.integers(0, 8))
    return bytes(changed)


def replaced(rng: Rng, data: bytes) -> bytes:
    start, stop = place(rng, data)
    return data[:start] + rng.bytes(stop - start) + data[stop:]


def filled(rng: Rng, data: bytes) -> bytes:
    start, stop = place(rng, data)
    return data[:start] + bytes([int(rng.choice([0, 255]))]) * (stop - start) + data[stop:]


def cut(rng: Rng, data: bytes) -> bytes:
    start, stop = place(rng, data)
    return data[:start] if rng.random() < 0.5 else data[:start] + data[stop:]


def doubled(rng: Rng, data: bytes) -> bytes:
    start, stop = place(rng, data)
    return data[:stop] + data[start:stop] * int(rng.integers(1, 4)) + data[stop:]


def numbered(rng: Rng, data: bytes) -> bytes:
    start, size = place(rng, data)[0], int(rng.choice([1, 2, 4, 8]))
    number = int(rng.choice(INTERESTING)) % 256**size
    order = str(rng.choice(["little", "big"]))
    return data[:start] + number.to_bytes(size, order) + data[start + size :]


RAW = (flipped, replaced, filled, cut, doubled, numbered)


def raw(rng: Rng, data: bytes) -> bytes:
    """`data` with its bytes damaged once or twice."""
    for _ in range(int(rng.integers(1, 3))):
        data = RAW[int(rng.integers(0, len(RAW)))](rng, data)
    return data


VALUES: list[Any] = [None, True, -1, 0, 7, 2**31, 2**63, 1e308, float("nan"), float("inf"), 0.5]
VALUES += ["", "x", "nan", "\x1b[2J", "::error::x", [], {}, [[]], {"a": {}}, "é" * 200, [1] * 100]


def odd_value(rng: Rng) -> Any:
    """Something that may stand where something else should."""
    if rng.random() < 0.05:  # deeper than Python's own limit
        deep: Any = 0
        for _ in range(int(rng.choice([50, 900, 3000]))):
            deep = [deep]
        return deep
    return VALUES[int(rng.integers(0, len(VALUES)))]


def containers(value: Any) -> Iterator[Any]:
    """Every list and object in a JSON value that is not empty."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, (dict, list)) and one:
            yield one
            waiting += one.values() if isinstance(one, dict) else one


def disarranged(rng: Rng, value: Any) -> Any:
    """A JSON value with one or two of its parts replaced, left out, renamed or repeated."""
    for _ in range(int(rng.integers(1, 3))):
        found = list(containers(value))
        if not found:
            return odd_value(rng)
        one = found[int(rng.integers(0, len(found)))]
        keys = list(one) if isinstance(one, dict) else list(range(len(one)))
        key, how = keys[int(rng.integers(0, len(keys)))], rng.random()
        if how < 0.6:
            one[key] = odd_value(rng)
        elif how < 0.8:
            del one[key]
        elif isinstance(one, dict):
            one[f"{key}x"] = one.pop(key)
        else:
            one.append(one[key])
    return value


def dumped(value: Any) -> bytes:
    """A JSON value of any depth as text."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        return json.dumps(value).encode()
    finally:
        sys.setrecursionlimit(limit)


def json_damaged(rng: Rng, data: bytes) -> bytes:
    """A JSON text with its bytes or its values damaged."""
    return raw(rng, data) if rng.random() < 0.4 else dumped(disarranged(rng, json.loads(data)))


def lines_damaged(rng: Rng, data: bytes) -> bytes:
    """JSON lines, one of which is damaged."""
    if rng.random() < 0.4:
        return raw(rng, data)
    lines = data.splitlines()
    i = int(rng.integers(0, len(lines)))
    lines[i] = dumped(disarranged(rng, json.loads(lines[i])))
    return b"\n".join(lines) + b"\n"


def zip_damaged(rng: Rng, data: bytes) -> bytes:
    """An archive with its bytes damaged, or those of an entry, whose checksum is right again."""
    if rng.random() < 0.4:
        return raw(rng, data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    name = sorted(entries)[int(rng.integers(0, len(entries)))]
    is_json = name.endswith(".json")
    entries[name] = (json_damaged if is_json else raw)(rng, entries[name])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for key, content in entries.items():
            archive.writestr(zipfile.ZipInfo(key), content)
    return buffer.getvalue()


def hdf5_damaged(rng: Rng, data: bytes) -> bytes:
    """An HDF5 model with its bytes or its description damaged."""
    if rng.random() < 0.6:
        return raw(rng, data)
    import h5py

    buffer = io.BytesIO(data)
    with h5py.File(buffer, "r+") as file:
        config = dumped(disarranged(rng, json.loads(file.attrs["model_config"])))
        if len(config) < 60_000:  # what an attribute holds
            file.attrs["model_config"] = config.decode()
    return buffer.getvalue()


NUMBERS = ["", "nan", "inf", "-1e400", "1e-400", "x", "1,", "1;", '"', "0x1", "1_0", "\x00", "#"]


def text_damaged(rng: Rng, data: bytes) -> bytes:
    """A text with its bytes damaged, or one of its words replaced."""
    if rng.random() < 0.6:
        return raw(rng, data)
    start, stop = place(rng, data)
    return data[:start] + NUMBERS[int(rng.integers(0, len(NUMBERS)))].encode() + data[stop:]


DEEP = [b"a = " + b"[" * 5000, b"a = " + b"{a=" * 5000, b"a." * 5000 + b"b = 1", b"[" * 5000]


def toml_damaged(rng: Rng, data: bytes) -> bytes:
    """A TOML text damaged, sometimes nested deeply."""
    if rng.random() < 0.05:
        return data + DEEP[int(rng.integers(0, len(DEEP)))]
    return text_damaged(rng, data)


# What is damaged, and how it is read.


@dataclass(frozen=True)
class Kind:
    """One kind of file: its name, undamaged contents, how they are damaged and read.

    `read` returns the exit code of the check of a file; `silent` says whether that is damaged where
    it was compared, which no parity may hide.
    """

    name: str
    seeds: Callable[[], list[bytes]]
    damage: Callable[[Rng, bytes], bytes]
    read: Callable[[str], int]
    silent: Callable[[bytes, str], bool] | None = None


def checked(*arguments: str) -> int:
    """The exit code of a check, as the command line comes to it; raises what it would catch."""
    from rnn_parity.cli.main import run

    with contextlib.redirect_stdout(io.StringIO()):
        return run(["check", *arguments])


def is_far(old: Any, new: Any) -> bool:
    """Whether numbers differ by far more than any rounding: a thousandth of the largest."""
    if np.shape(old) != np.shape(new):
        return True
    old, new = np.float64(old), np.float64(new)
    with np.errstate(all="ignore"):
        return not bool((np.abs(new - old) <= 1e-3 * np.abs(old).max()).all())


def reference() -> Path:
    """The case that files of other implementations are held against: small, so that a divergence is
    looked into quickly."""
    return CASES / "unrolled.npz"


def case_seeds() -> list[bytes]:
    return [path.read_bytes() for path in sorted(CASES.glob("*.npz")) if path.stat().st_size < 2e4]


def case_differs(seed: bytes, path: str) -> bool:
    """Whether any array of a case is another one."""
    from rnn_parity.cases.case import read_case

    with np.load(io.BytesIO(seed), allow_pickle=False) as archive:
        old = {name: archive[name] for name in archive.files if name != "meta"}
    new = read_case(path).arrays
    return old.keys() != new.keys() or any(
        old[name].tobytes() != new[name].tobytes() for name in old
    )


def recorded(name: str) -> Any:
    from rnn_parity.cases.case import read_case

    return getattr(read_case(reference()), name)


def saved(save: Callable[..., Any], *arrays: Any, **named: Any) -> bytes:
    buffer = io.BytesIO()
    save(buffer, *arrays, **named)
    return buffer.getvalue()


def npz_seeds() -> list[bytes]:
    (h,) = recorded("final_state")
    arrays = {"outputs": recorded("outputs"), "final_state_h": h}
    return [saved(np.savez, **arrays), saved(np.savez_compressed, **arrays)]


def csv_seeds() -> list[bytes]:
    from rnn_parity.implementations.numbers import csv_text

    table = csv_text(recorded("outputs"))
    return [table.encode(), ("a;" * 3 + "\n" + table.replace(",", ";")).encode()]


def against(path: str) -> int:
    return checked(str(reference()), "--against", path, "-q")


def numbers_differ(seed: bytes, path: str) -> bool:
    """Whether the outputs in a file are far from those that were recorded."""
    from rnn_parity.implementations.numbers import read_numbers

    found = read_numbers(path).outputs
    outputs = recorded("outputs")
    return found.size != outputs.size or is_far(outputs, found.reshape(outputs.shape))


def keras_seeds(suffix: str) -> list[bytes]:
    from rnn_parity.keras_adapter import tensorflow_module

    keras = tensorflow_module().keras
    keras.utils.set_random_seed(1)
    x = inputs = keras.Input((None, 3))
    x = keras.layers.Bidirectional(keras.layers.GRU(2, return_sequences=True))(x)
    keras_model = keras.Model(inputs, keras.layers.LSTM(3, activation="relu")(x))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"m.{suffix}"
        keras_model.save(path)
        return [path.read_bytes()]


def model(path: str) -> int:
    return checked(path, "--batch", "2", "--timesteps", "3", "--mode", "eager", "-q")


def onnx_seeds() -> list[bytes]:
    import onnx_models

    kinds = [("RNN", {}), ("LSTM", {"direction": "bidirectional"}), ("GRU", {"lengths": [5, 2, 3]})]
    found = [onnx_models.single(kind, **options) for kind, options in kinds]
    return [(one[0] if isinstance(one, tuple) else one).SerializeToString() for one in found]


def layer_as_onnx() -> bytes:
    """The recorded layer as ONNX has it: weights transposed, two biases."""
    import onnx
    from onnx import helper, numpy_helper

    kernel, recurrent, bias = (recorded(n) for n in ("kernel", "recurrent_kernel", "bias"))
    units = len(recurrent)
    weights = {"W": kernel.T[None], "R": recurrent.T[None]}
    weights["B"] = np.concatenate([bias, np.zeros(units)])[None]
    node = helper.make_node("RNN", ["X", "W", "R", "B"], ["Y4"], hidden_size=units)
    axes = numpy_helper.from_array(np.int64([1]), "axes")
    end = helper.make_node("Squeeze", ["Y4", "axes"], ["Y"])
    ends = [("X", ["t", "b", kernel.shape[0]]), ("Y", ["t", "b", units])]
    values = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, s) for n, s in ends]
    tensors = [numpy_helper.from_array(np.float32(a), n) for n, a in weights.items()]
    graph = helper.make_graph([node, end], "g", values[:1], values[1:], [*tensors, axes])
    opsets = [helper.make_opsetid("", 14)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


def onnx_differs(seed: bytes, path: str) -> bool:
    """Whether any weight in a model is far from what it was."""
    import onnx
    from onnx import numpy_helper

    def weights(data: bytes) -> dict[str, Any]:
        found = onnx.ModelProto.FromString(data).graph.initializer
        return {tensor.name: numpy_helper.to_array(tensor) for tensor in found}

    old, new = weights(seed), weights(Path(path).read_bytes())
    return any(name in new and is_far(old[name], new[name]) for name in "WRB")


def tflite_seeds() -> list[bytes]:
    from rnn_parity.cases.case import read_case
    from rnn_parity.keras_adapter import tensorflow_module
    from rnn_parity.keras_adapter.building import rebuild_layer

    tf, case = tensorflow_module(), read_case(reference())
    batch, timesteps, features = case.inputs.shape
    config = {**case.config, "unroll": True, "return_state": False, "stateful": False}
    layer = rebuild_layer(case.layer_class, config, case.weights(), batch)
    spec = tf.TensorSpec((batch, timesteps, features), tf.float32)
    function = tf.function(layer).get_concrete_function(spec)
    return [tf.lite.TFLiteConverter.from_concrete_functions([function], layer).convert()]


def safetensors_seeds() -> list[bytes]:
    import safetensors.numpy

    kernel, recurrent, bias = (recorded(n) for n in ("kernel", "recurrent_kernel", "bias"))
    tensors = {"weight_ih_l0": kernel.T, "weight_hh_l0": recurrent.T, "bias_ih_l0": bias}
    tensors["bias_hh_l0"] = np.zeros_like(bias)
    arrays = {name: np.ascontiguousarray(array, np.float32) for name, array in tensors.items()}
    return [safetensors.numpy.save(arrays)]


TOML = b"""[project]
name = "x"
dependencies = ["numpy>=1.24", 'tensorflow']
[tool.rnn_parity]
mode = "eager"
strict = true
cases = "recorded"
[[tool.other]]
when = 2020-01-01T00:00:00Z
text = \"\"\"a
b\"\"\"
"""


def settings(path: str) -> int:
    from rnn_parity.system.settings import read_settings

    file = Path(path)
    read_settings(Path(file.rename(file.with_name("pyproject.toml"))).parent)
    return PARITY


def baseline_seeds() -> list[bytes]:
    from rnn_parity.api.recorded import check_case

    return [check_case(reference(), keras=False).to_json().encode()]


def baseline(path: str) -> int:
    return checked(str(reference()), "--no-keras", "--baseline", path, "-q")


HEADER = {"seed": 0, "keras": "3.15.1"}


def journal_seeds() -> list[bytes]:
    from rnn_parity.sweep.journal import journal
    from rnn_parity.sweep.space import default_of
    from rnn_parity.verdict.results import Divergence
    from rnn_parity.verdict.sweep_results import Outcome

    first = Divergence(1, 0, 0, float("nan"), 0.5, 1e-7)
    bad = Outcome("diverged", "off", seconds=0.25, max_ratio=9.0, first_divergence=first)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.jsonl"
        with journal(str(path)) as file:
            file.begin(HEADER)
            file.add(default_of("simple_rnn"), bad)
            file.add(default_of("lstm"), Outcome("refused", "no", seconds=0.5))
        return [path.read_bytes()]


def resumed(path: str) -> int:
    from rnn_parity.sweep.journal import journal

    with journal(path) as file:
        file.begin(HEADER)
    return PARITY


def outputs_npy() -> list[bytes]:
    return [saved(np.save, recorded("outputs"))]


KINDS = {
    kind.name: kind
    for kind in (
        Kind("case.npz", case_seeds, zip_damaged, lambda p: checked(p, "--no-keras", "-q"),
             case_differs),
        Kind("npy.npy", outputs_npy, raw, against, numbers_differ),
        Kind("npz.npz", npz_seeds, zip_damaged, against, numbers_differ),
        Kind("csv.csv", csv_seeds, text_damaged, against, numbers_differ),
        Kind("keras.keras", lambda: keras_seeds("keras"), zip_damaged, model),
        Kind("h5.h5", lambda: keras_seeds("h5"), hdf5_damaged, model),
        Kind("onnx.onnx", onnx_seeds, raw, lambda p: checked(p, "-q"),),
        Kind("onnx-against.onnx", lambda: [layer_as_onnx()], raw, against, onnx_differs),
        Kind("tflite.tflite", tflite_seeds, raw, against),
        Kind("safetensors.safetensors", safetensors_seeds, raw, against),
        Kind("toml.toml", lambda: [TOML], toml_damaged, settings),
        Kind("baseline.json", baseline_seeds, json_damaged, baseline),
        Kind("journal.jsonl", journal_seeds, lines_damaged, resumed),
    )
}  # fmt: skip
KINDS = {name.partition(".")[0]: kind for name, kind in KINDS.items()}


# One input, a series of them, and all kinds.


def damaged(kind: Kind, number: int, seed: int, contents: list[bytes]) -> tuple[bytes, bytes]:
    """The undamaged content of an input, and the damaged one."""
    rng = np.random.default_rng([seed, list(KINDS.values()).index(kind), number])
    content = contents[number % len(contents)]
    return content, kind.damage(rng, content)


def outcome(kind: Kind, content: bytes, data: bytes) -> tuple[str, str]:
    """What became of one input: a word of the table, and what to look at."""
    from rnn_parity.errors import RnnParityError

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / f"damaged{Path(kind.name).suffix}")
        Path(path).write_bytes(data)
        try:
            code = kind.read(path)
        except RnnParityError as error:
            return ("refused", "") if str(error) else ("crashes", "a refusal without a word")
        except TooLong:
            return "hangs", f"more than {SECONDS:.0f} s"
        except Exception as error:
            return "crashes", f"{type(error).__name__}: {error}"[:300]
        if code == PARITY and kind.silent and data != content and kind.silent(content, path):
            return "silent", "parity, though what is compared was damaged"
    return "readable", ""


def late(*_: object) -> None:
    raise TooLong


def series(name: str, start: int, count: int, seed: int, say: Callable[[Any], None]) -> None:
    """Try the inputs of a kind and `say` what became of each."""
    kind = KINDS[name]
    contents = kind.seeds()
    signal.signal(signal.SIGALRM, late)
    for number in range(start, start + count):
        content, data = damaged(kind, number, seed, contents)
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        try:
            word, text = outcome(kind, content, data)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        say({"number": number, "word": word, "text": text, "peak": peak})


def child(name: str, start: int, count: int, seed: int) -> None:
    """The program of a process for one kind: a JSON line for each input."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(line: Any) -> None:
        print(json.dumps(line), file=answers, flush=True)

    series(name, start, count, seed, say)


def answers_of(name: str, start: int, count: int, seed: int) -> Iterator[dict[str, Any]]:
    """What a process says, until it ends or has said nothing for too long."""
    command = [sys.executable, __file__, "--child", "--kind", name, "--seed", str(seed)]
    command += ["--start", str(start), "--count", str(count)]
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "cwd": ROOT}
    with subprocess.Popen(command, **settings) as process:
        waited = time.monotonic()
        while True:
            ready, _, _ = select.select([process.stdout], [], [], 1.0)
            line = process.stdout.readline() if ready else b""
            if line:
                waited = time.monotonic()
                yield json.loads(line)
            elif ready or time.monotonic() - waited > 6 * SECONDS:
                break
        ended = process.poll() is not None
        process.kill()
        process.wait()
    yield {"end": "died" if ended or process.returncode != -9 else "hung"}


def tried(name: str, count: int, seed: int) -> tuple[Counter[str], int, list[str]]:
    """What became of the inputs of a kind: counts, MiB at the peak beyond the start, findings."""
    words: Counter[str] = Counter()
    found, number, first, growth = [], 0, None, 0
    while number < count:
        before = number
        for line in answers_of(name, number, count - number, seed):
            if "end" in line:
                break
            number = line["number"] + 1
            words[line["word"]] += 1
            first = line["peak"] if first is None else first
            if line["peak"] - first > growth + 64:
                growth = line["peak"] - first
                if growth > LARGE:
                    found.append(f"{name} {line['number']}: memory: {growth} MiB")
            if line["word"] in ("crashes", "silent", "hangs"):
                found.append(f"{name} {line['number']}: {line['word']}: {line['text']}")
        if number < count:  # the process ended before its work did
            if number == before == 0:
                return words, growth, [f"{name}: could not be tried: a package is missing?"]
            words["hangs" if line["end"] == "hung" else "crashes"] += 1
            found.append(f"{name} {number}: the process {line['end']}")
            number += 1
            first = None
    return words, growth, found


def table(rows: list[tuple[str, Counter[str], int]]) -> str:
    """The counts of each kind."""
    from tabulate import tabulate

    columns = ("refused", "readable", "crashes", "silent", "hangs")
    heads = ["kind", "inputs", *columns[:2], "crashes", "silent passes", "hangs", "MiB more"]
    cells = [[n, w.total(), *(w[c] for c in columns), growth] for n, w, growth in rows]
    sums = [sum(row[i] for row in cells) for i in range(1, 7)]
    cells.append(["all", *sums, max(row[-1] for row in cells)])
    return str(tabulate(cells, heads))


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--kind", choices=KINDS, action="append")
    options.add_argument("--count", type=int, help="of each kind; 10,000 in all by default")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--start", type=int, default=0, help=argparse.SUPPRESS)
    options.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options.add_argument("--keep", type=Path, help="write input --start of --kind there")
    given = options.parse_args()
    if given.keep:
        kind = KINDS[given.kind[0]]
        given.keep.write_bytes(damaged(kind, given.start, given.seed, kind.seeds())[1])
        return 0
    if given.child:
        child(given.kind[0], given.start, given.count, given.seed)
        return 0
    rows, findings = [], []
    for name in given.kind or KINDS:
        words, growth, found = tried(name, given.count or COUNTS[name], given.seed)
        rows.append((name, words, growth))
        findings += found
        print("\n".join([f"{name}: {dict(words)}", *found]), file=sys.stderr, flush=True)
    print(table(rows), *findings, sep="\n")
    return 1 if any(words[w] for _, words, _ in rows for w in ("crashes", "silent", "hangs")) else 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main())
