"""The file of a case: nothing damaged, foreign or absurd is ever believed, or unpickled."""

import io
import json
import os
import zipfile

import numpy as np
import pytest
from hand_case import CONFIG, GRU, LSTM, contents, make

from rnn_parity.cases.case import checksum, read_case, write_case
from rnn_parity.errors import InputError
from rnn_parity.system.limits import VARIABLE

LEFT_OUT = object()


def rewritten(path, meta=None, signed=True, **arrays):
    """Rewrite a case by other means, with other contents and, unless not `signed`, a checksum."""
    found = contents(path)
    document = {**json.loads(str(found.pop("meta"))), **(meta or {})}
    document = {key: value for key, value in document.items() if value is not LEFT_OUT}
    found = {n: a for n, a in {**found, **arrays}.items() if a is not None}
    if signed:
        document["checksum"] = checksum(document, found)
    np.savez(path, meta=np.array(json.dumps(document)), **found)
    return path


def refusal(path):
    with pytest.raises(InputError) as caught:
        read_case(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"case {str(path)!r}")
    return message


@pytest.mark.parametrize("size", [0, 1, 30, 200, 600, -1])
def test_truncated_files(path, size):
    path.write_bytes(path.read_bytes()[:size])
    assert "truncated or damaged" in refusal(path)


def test_flipped_bytes_are_never_believed(path):
    data, good = path.read_bytes(), make()
    for i in range(0, len(data), 5):
        path.write_bytes(data[:i] + bytes([data[i] ^ 0xFF]) + data[i + 1 :])
        try:
            case = read_case(path)  # some bytes of an archive mean nothing, such as its dates
        except InputError:
            continue
        assert (case.outputs.tolist(), case.config) == (good.outputs.tolist(), good.config)


def test_another_checksum(path):
    other = rewritten(path, signed=False, outputs=np.float32([[[3], [8.75]]]))
    assert "its checksum fails" in refusal(other)


def test_dropout_masks_are_under_the_checksum(path):
    write_case(path, make(dropout_inputs=np.float32([[[2]]])))
    assert "its checksum fails" in refusal(
        rewritten(path, signed=False, dropout_inputs=np.float32([[[0]]]))
    )


def test_the_description_is_under_the_checksum(path):
    assert "its checksum fails" in refusal(rewritten(path, {"mode": "xla"}, signed=False))


@pytest.mark.parametrize("schema", ["rnn-parity/case/2", None, 1])
def test_another_schema(path, schema):
    message = refusal(rewritten(path, {"schema": schema}))
    assert f"expected schema rnn-parity/case/1, received {schema!r}; update rnn-parity" in message


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"outputs": None}, "received no 'outputs'"),
        ({"extra": np.zeros(1)}, "received an unknown 'extra'"),
        ({"../evil": np.zeros(1)}, "received an unknown '../evil'"),
        ({"kernel": np.array([[2]])}, "expected floats, received dtype int64"),
        ({"kernel": np.longdouble([[2]])}, "expected floats"),
        ({"mask": np.float32([[1, 0]])}, "expected booleans, received dtype float32"),
        ({"mask": np.ones((2, 1), bool)}, "mask: expected shape (1, 2), received (2, 1)"),
        ({"kernel": np.float32([[2, 1]])}, "kernel: expected shape (1, 1), received (1, 2)"),
        ({"inputs": np.float32([[1, 3]])}, "inputs: expected shape (any, any, any)"),
        ({"inputs": np.zeros((0, 2, 1))}, "inputs: expected shape (any, any, any)"),
        ({"bias": None}, "expected units and use_bias of its config"),
        (
            {"dropout_inputs": np.ones((2, 1, 1))},
            "dropout_inputs: expected shape (1, 1, 1), received (2, 1, 1)",
        ),
        ({"dropout_recurrent": np.ones((1, 1, 1), bool)}, "expected floats, received dtype bool"),
    ],
)
def test_other_arrays(path, changes, expected):
    assert expected in refusal(rewritten(path, **changes))


@pytest.mark.parametrize(
    ("meta", "expected"),
    [
        ({"config": 3}, "expected 'config' in meta, received 3"),
        ({"call": "one"}, "expected 'call' in meta, received 'one'"),
        ({"dtype": "int8"}, "received 'int8'"),
        ({"config": {**CONFIG, "units": 2}}, "expected units and use_bias of its config"),
        ({"config": {**CONFIG, "activation": "mine"}}, "expected the name of one of Keras's"),
        ({"config": {**CONFIG, "activation": []}}, "expected the name of one of Keras's"),
        ({"layer_class": "GRU"}, "expected the recurrence GRU of a GRU, not SimpleRNN"),
    ],
)
def test_another_description(path, meta, expected):
    assert expected in refusal(rewritten(path, meta))


@pytest.mark.parametrize(
    ("gated", "changes", "expected"),
    [
        (LSTM, {"kernel": np.ones((1, 3))}, "kernel: expected shape (1, 4), received (1, 3)"),
        (LSTM, {"recurrent_kernel": np.ones((1, 1))}, "recurrent_kernel: expected shape (1, 4)"),
        (LSTM, {"bias": np.ones((2, 4))}, "bias: expected shape (4,), received (2, 4)"),
        (LSTM, {"final_state_c": None}, "final_state: expected h, c or none, received h"),
        (LSTM, {"initial_state_h": None}, "initial_state: expected h, c or none, received c"),
        (LSTM, {"initial_state_c": np.ones((1, 2))}, "initial_state_c: expected shape (1, 1)"),
        (GRU, {"kernel": np.ones((1, 4))}, "kernel: expected shape (1, 3), received (1, 4)"),
        (GRU, {"bias": np.ones(3)}, "bias: expected shape (2, 3), received (3,)"),
        (GRU, {"bias": np.ones((1, 3))}, "bias: expected shape (2, 3), received (1, 3)"),
        (GRU, {"final_state_c": np.ones((1, 1))}, "final_state: expected h or none, received h, c"),
        (
            GRU,
            {"dropout_recurrent": np.ones((1, 1, 1))},
            "dropout_recurrent: expected shape (3, 1, 1), received (1, 1, 1)",
        ),
        ({}, {"initial_state_c": np.ones((1, 1))}, "initial_state: expected h or none, received c"),
    ],
)
def test_arrays_that_do_not_fit_the_layer(path, gated, changes, expected):
    write_case(path, make(**gated))
    assert expected in refusal(rewritten(path, **changes))


def test_a_gru_that_resets_before_has_one_row_of_biases(path):
    write_case(path, make(**GRU))
    other = rewritten(path, {"config": {**GRU["config"], "reset_after": False}})
    assert "bias: expected shape (3,), received (2, 3)" in refusal(other)


@pytest.mark.parametrize("name", ["kernel", "recurrent_kernel", "bias"])
def test_weights_are_of_the_dtype_that_meta_names(path, name):
    """A case of float32 that called itself bfloat16 would be judged by a bound 2**16 as wide."""
    third = np.full(contents(path)[name].shape, 1 / 3, np.float32)
    assert read_case(rewritten(path, **{name: third})).dtype == "float32"
    message = f"{name}: expected numbers of bfloat16, the dtype that meta names, received others"
    assert message in refusal(rewritten(path, {"dtype": "bfloat16"}))


def test_the_recurrence_is_known(path):
    assert "expected recurrence SimpleRNN, LSTM, GRU, received 'TCN'" in refusal(
        rewritten(path, {"recurrence": "TCN"})
    )
    assert "expected 'recurrence' in meta, received 3" in refusal(
        rewritten(path, {"recurrence": 3})
    )


def test_older_files_do_not_name_the_recurrence(path):
    rewritten(path, {"recurrence": LEFT_OUT})
    assert read_case(path).recurrence == "SimpleRNN"
    write_case(path, make(**GRU))
    assert "kernel: expected shape (1, 1), received (1, 3)" in refusal(
        rewritten(path, {"recurrence": LEFT_OUT})
    )


def test_no_json(path):
    found = contents(path)
    np.savez(path, **{**found, "meta": np.array("{")})
    assert "expected JSON" in refusal(path)


class Unpickled:
    def __reduce__(self):
        return (pytest.fail, ("something was unpickled",))


@pytest.mark.parametrize("name", ["meta", "outputs"])
def test_nothing_is_unpickled(path, name):
    np.savez(path, **{**contents(path), name: np.array([Unpickled()], object)})
    assert "received dtype object" in refusal(path)


def test_a_pickle_is_no_case(tmp_path):
    np.save(tmp_path / "a.npz", np.zeros(3))
    assert "another kind of file" in refusal(tmp_path / "a.npz.npy")


def npy(shape, data=b""):
    buffer = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue() + data


def with_entry(path, name, data):
    with zipfile.ZipFile(path) as old:
        entries = {entry.filename: old.read(entry) for entry in old.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for key, value in {**entries, name: data}.items():
            new.writestr(key, value)
    return path


def test_a_header_that_claims_an_absurd_shape(path):
    assert "damaged" in refusal(with_entry(path, "outputs.npy", npy((2**40, 2**40, 1))))


def test_a_zip_that_claims_an_absurd_size(path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "0.00390625")
    bomb = with_entry(path, "outputs.npy", npy((1, 300000, 1), bytes(1_200_000)))
    assert bomb.stat().st_size < 10**5
    assert "expected at most 1 MiB, received arrays of 1.15 MiB; name a smaller" in refusal(bomb)


def test_an_encrypted_array(path):
    with zipfile.ZipFile(path) as file:
        at = next(e.header_offset for e in file.infolist() if e.filename == "inputs.npy")
    data = bytearray(path.read_bytes())
    data[at + 6] |= 1
    at = data.index(b"inputs.npy", data.index(b"PK\1\2")) - 46
    data[at + 8] |= 1
    path.write_bytes(data)
    assert "'inputs' is encrypted; write it without a password" in refusal(path)


def test_an_array_twice(path):
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as file:
        file.writestr("outputs.npy", npy((1, 2, 1), bytes(8)))
    assert "expected each array once, received two named 'outputs'" in refusal(path)


def test_what_is_no_file(tmp_path):
    assert "received a directory; name a file" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe.npz")
    assert "something that is not a plain file" in refusal(tmp_path / "pipe.npz")
    assert "cannot be read: No such file" in refusal(tmp_path / "none.npz")
