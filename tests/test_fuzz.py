"""A small part of the fuzz of damaged files (`make fuzz` runs 10,000), and what it rests on."""

import importlib.util
import json
from pathlib import Path

import fuzz_files
import numpy as np
import pytest
from fuzz_files import KINDS, damaged, outcome

COUNTS = {"case": 60, "npy": 15, "npz": 30, "csv": 20, "toml": 60, "baseline": 40, "journal": 60}
COUNTS |= {"onnx": 30, "onnx-against": 15, "keras": 6, "h5": 6}
NEEDED = {"onnx": "onnxruntime", "onnx-against": "onnxruntime", "tflite": "ai_edge_litert"}


def needed(name):
    """Skip where the package is missing that reads a kind of file."""
    if importlib.util.find_spec(NEEDED.get(name, "numpy")) is None:
        pytest.skip(f"{NEEDED[name]} is not installed")
    return KINDS[name]


@pytest.mark.parametrize("name", COUNTS)
def test_damaged_files_are_refused_or_read(name):
    """Other inputs than those of `make fuzz`."""
    kind = needed(name)
    contents = kind.seeds()
    for number in range(COUNTS[name]):
        content, data = damaged(kind, number, 1, contents)
        word, text = outcome(kind, content, data)
        assert word in ("refused", "readable"), f"{name} {number}: {word}: {text}"


@pytest.mark.parametrize("name", COUNTS)
def test_undamaged_files_are_in_parity(name, tmp_path):
    """Else every damaged one is refused for another reason."""
    kind = needed(name)
    path = tmp_path / f"file{Path(kind.name).suffix}"
    for content in kind.seeds()[:3]:
        path.write_bytes(content)
        assert kind.read(str(path)) == 0
        if kind.silent:
            path.write_bytes(content)
            assert not kind.silent(content, str(path))


def test_a_silent_pass_would_be_seen(monkeypatch):
    """Outputs that are far from the recorded ones, and a check that passes them."""
    kind = KINDS["npy"]
    (content,) = kind.seeds()
    data = fuzz_files.saved(np.save, fuzz_files.recorded("outputs") + np.float32(0.5))
    assert outcome(kind, content, data)[0] == "readable"
    monkeypatch.setattr(fuzz_files, "checked", lambda *arguments: 0)
    assert outcome(kind, content, data)[0] == "silent"


def test_a_crash_would_be_seen(monkeypatch):
    def broken(*arguments):
        raise KeyError("x")

    monkeypatch.setattr(fuzz_files, "checked", broken)
    assert outcome(KINDS["npy"], b"", b"x") == ("crashes", "KeyError: 'x'")


def test_the_whole_fuzz_is_ten_thousand():
    assert sum(fuzz_files.COUNTS.values()) - fuzz_files.COUNTS["safetensors"] == 10_000
    assert fuzz_files.COUNTS.keys() == KINDS.keys()


def test_an_input_follows_from_its_number():
    kind = KINDS["baseline"]
    content = json.dumps({"checks": [{"a": 1}] * 3}).encode()
    inputs = [damaged(kind, number, 0, [content])[1] for number in range(20)]
    assert inputs == [damaged(kind, number, 0, [content])[1] for number in range(20)]
    assert len(set(inputs)) > 10
