"""Numbers that another program wrote, in every way in which programs write them."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from rnn_parity import SimpleRNN
from rnn_parity.errors import InputError
from rnn_parity.implementations import numbers as module
from rnn_parity.implementations.numbers import csv_text, encoded, implementation
from rnn_parity.implementations.request import Request
from rnn_parity.recurrence.cells import LSTM
from rnn_parity.system.limits import VARIABLE

DAMAGED = Path(__file__).parents[2] / "fixtures" / "damaged"

B, T, H = 2, 3, 4
# Every number tells its place: sample, timestep, unit.
WHOLE = np.fromfunction(lambda b, t, h: 100 * b + 10 * t + h + 0.5, (B, T, H))


def request(batch=B, timesteps=T, units=H, layer=SimpleRNN):
    width = units * len(layer.GATES)
    weights = np.zeros((1, width)), np.zeros((units, width))
    return Request(layer(*weights), np.zeros((batch, timesteps, 1)))


def read(path, asked=None):
    return implementation(str(path))(asked or request())


def csv(tmp_path, content):
    path = tmp_path / "y.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def lines(rows, separator=","):
    return "".join(separator.join(map(repr, map(float, row))) + "\n" for row in rows)


PER_STEP = WHOLE.reshape(B * T, H)
HEADER = "unit 0,unit 1,unit 2,unit 3\n"


@pytest.mark.parametrize(
    "content",
    [
        lines(PER_STEP),
        lines(PER_STEP, ";"),
        lines(PER_STEP, "\t"),
        lines(PER_STEP, " "),
        lines(PER_STEP, "   "),
        lines(PER_STEP, ", "),
        lines(PER_STEP).replace("\n", ",\n"),
        HEADER + lines(PER_STEP).replace("\n", ",\n"),
        lines(PER_STEP).replace("\n", "\r\n"),
        lines(PER_STEP).replace("\n", "\n\n"),
        "\ufeff" + HEADER + lines(PER_STEP),
        HEADER.replace(",", ";") + lines(PER_STEP, ";"),
        '"a","b","c","d"\n' + lines(PER_STEP),
        "# written by a program\n" + lines(PER_STEP),
        lines(WHOLE.reshape(B, T * H)),
        lines(WHOLE.reshape(1, -1)),
        lines(WHOLE.reshape(-1, 1)),
        "y\n" + lines(WHOLE.reshape(-1, 1)),
        lines(WHOLE.swapaxes(0, 1).reshape(T, B * H)),
    ],
)
def test_text_with_any_separator_header_and_rows(tmp_path, content):
    answer = read(csv(tmp_path, content))
    assert answer.outputs.tolist() == WHOLE.tolist()
    assert (answer.final_state, answer.notes) == ((), ())


def test_the_last_output_alone(tmp_path):
    answer = read(csv(tmp_path, lines(WHOLE[:, -1])))
    assert answer.outputs.tolist() == WHOLE[:, -1].tolist()
    assert "only the last output is known" in answer.notes[0]


def test_not_a_number_and_infinity_are_numbers(tmp_path):
    content = lines(PER_STEP).replace("0.5", "nan", 1).replace("1.5", "-inf", 1)
    outputs = read(csv(tmp_path, content)).outputs
    assert np.isnan(outputs[0, 0, 0])
    assert outputs[0, 0, 1] == -np.inf


def test_several_readings_are_asked_about(tmp_path):
    square = np.arange(3.0 * 3 * 4).reshape(3, 3 * 4)
    path, asked = csv(tmp_path, lines(square)), request(batch=3)
    with pytest.raises(InputError) as error:
        read(path, asked)
    assert str(error.value).endswith(
        "3 rows of 12 numbers can be read in several ways: append ?axes=BTH or ?axes=TBH"
    )
    assert read(f"{path}?axes=BTH", asked).outputs.tolist() == square.reshape(3, 3, 4).tolist()
    swapped = square.reshape(3, 3, 4).swapaxes(0, 1)
    assert read(f"{path}?axes=tbh", asked).outputs.tolist() == swapped.tolist()


def test_one_sample_can_be_read_in_one_way(tmp_path):
    rows = WHOLE[0]
    for content in (rows, rows.reshape(1, -1), rows.reshape(-1, 1)):
        answer = read(csv(tmp_path, lines(content)), request(batch=1))
        assert answer.outputs.tolist() == [rows.tolist()]


def test_one_timestep_is_a_sequence_of_one(tmp_path):
    answer = read(csv(tmp_path, lines(WHOLE[:, 0])), request(timesteps=1))
    assert answer.outputs.tolist() == WHOLE[:, :1].tolist()
    assert answer.notes == ()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "expected rows of numbers, received a file without any"),
        (HEADER, "expected rows of numbers, received a file without any"),
        ("1,2\n3,4,5\n", "line 2: expected 2 numbers as in the lines before, received 3"),
        ("1,2\n3,\n", "line 2, column 2: expected a number, received a missing value"),
        ("1,2,\n3,\n", "line 2: expected 2 numbers as in the lines before, received 1"),
        ("1,2\n,4\n", "line 2, column 1: expected a number, received a missing value"),
        (",2\n3,4\n", "line 1, column 1: expected a number, received a missing value"),
        ("1,2\n3,x\n", "line 2, column 2: expected a number, received 'x'"),
        ("a,b\nc,d\n", "line 2, column 1: expected a number, received 'c'"),
        ("1,2\n3,1_000\n", "line 2, column 2: expected a number, received '1_000'"),
        ("0,5;0,5\n1,5;2,5\n", "line 2, column 1: expected a number, received '1,5'"),
        (b"\xff\xfe1\x00,\x002\x00", "expected text in UTF-8, received other bytes"),
    ],
)
def test_bad_text_is_one_line(tmp_path, content, words):
    path = csv(tmp_path, content)
    with pytest.raises(InputError) as error:
        read(path)
    message = str(error.value)
    assert message.startswith(f"against {str(path)!r}: ")
    assert words in message
    assert "\n" not in message


def test_files_that_are_not_there(tmp_path):
    for name in ("y.csv", "y.npy", "y.npz"):
        with pytest.raises(InputError, match="cannot be read: No such file or directory"):
            read(tmp_path / name)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match="received a directory; name a file"):
        read(tmp_path / "folder.csv")


@pytest.mark.parametrize("extension", ["npy", "npz", "csv"])
def test_a_pipe_is_not_waited_for(tmp_path, extension):
    os.mkfifo(tmp_path / f"y.{extension}")
    with pytest.raises(InputError, match="received something that is not a plain file"):
        read(tmp_path / f"y.{extension}")


def test_files_beyond_the_limit_are_not_read(tmp_path, monkeypatch):
    """A file of 2 MiB holds a limit of 8 MiB, of which one file may take a quarter."""
    np.save(tmp_path / "y.npy", np.zeros((2**20 + 1, 1)))
    (tmp_path / "y.csv").write_text("1,2\n" * 2**17 + "1\n")
    (tmp_path / "line.csv").write_text("1," * 2**14)
    monkeypatch.setenv(VARIABLE, "0.0078125")
    said = "at most 8 MiB in float64, received about 8 MiB; name a smaller file, or set .*=1"
    refused(tmp_path / "y.npy", f"expected an array of {said}")
    refused(tmp_path / "y.csv", "expected at most 512 KiB, received text of 512 KiB")
    monkeypatch.setattr(module, "LONGEST_LINE", 2**14)
    refused(tmp_path / "line.csv", "line 1: expected at most 16383 characters, received more")


def test_binary_arrays(tmp_path):
    np.save(tmp_path / "y.npy", WHOLE.astype("float32"))
    assert read(tmp_path / "y.npy").outputs.dtype == np.float32
    assert read(tmp_path / "y.npy").outputs.tolist() == WHOLE.tolist()
    np.save(tmp_path / "y.npy", WHOLE.reshape(B * T, H))
    assert read(tmp_path / "y.npy").outputs.tolist() == WHOLE.tolist()
    np.save(tmp_path / "y.npy", WHOLE.transpose(1, 0, 2))
    assert read(f"{tmp_path}/y.npy?axes=TBH").outputs.tolist() == WHOLE.tolist()
    # Without being told, another shape is a result, which says what would help.
    assert read(tmp_path / "y.npy").outputs.shape == (T, B, H)


def test_an_archive_with_one_array_or_with_names(tmp_path):
    path, state = tmp_path / "y.npz", WHOLE[:, -1]
    np.savez(path, anything=WHOLE)
    assert read(path).outputs.tolist() == WHOLE.tolist()
    np.savez(path, outputs=WHOLE, final_state_h=state)
    assert [s.tolist() for s in read(path).final_state] == [state.tolist()]
    np.savez_compressed(path, outputs=WHOLE, final_state_c=2 * state, final_state_h=state, kernel=0)
    answer = read(path, request(layer=LSTM))
    assert [s.tolist() for s in answer.final_state] == [state.tolist(), (2 * state).tolist()]
    assert (answer.notes, answer.left_out) == (("not compared: kernel of the file",), ())
    answer = read(path)
    assert answer.notes == ("not compared: kernel of the file",)
    assert (answer.left_out, answer.part) == (("final_state_c",), f"{path}#outputs")
    answer = read(f"{path}#outputs")
    assert (answer.left_out, answer.final_state) == ((), ())
    assert answer.notes == ("not compared: final_state_c, final_state_h, kernel of the file",)


def test_arrays_that_nothing_is_held_against_are_left_out(tmp_path):
    path = tmp_path / "y.npz"
    np.savez(path, outputs=WHOLE, outputs_2=WHOLE, inputs=WHOLE, initial_state_h=0, meta=0)
    answer = read(path)
    assert answer.left_out == ("outputs_2",)
    assert answer.notes == ("not compared: inputs, initial_state_h, meta of the file",)
    assert read(f"{path}#outputs_2").left_out == ()
    # A c without its h is the state of nothing.
    np.savez(path, outputs=WHOLE, final_state_c=WHOLE[:, -1])
    answer = read(path, request(layer=LSTM))
    assert (answer.final_state, answer.left_out) == ((), ("final_state_c",))


def test_the_last_output_of_a_case_is_held_against_it_too(tmp_path):
    path = tmp_path / "y.npz"
    np.savez(path, outputs=WHOLE, last_output=WHOLE[:, -1] + 1)
    answer = read(path)
    assert answer.last_output.tolist() == (WHOLE[:, -1] + 1).tolist()
    assert answer.left_out == ()
    np.savez(path, outputs=WHOLE[:, -1], last_output=WHOLE[:, -1])
    answer = read(path)
    assert (answer.last_output, answer.left_out) == (None, ("last_output",))


@pytest.mark.parametrize(
    "name",
    ["final_state_h", "final_state_c", "inputs", "kernel", "bias", "initial_state_h", "mask"],
)
def test_what_has_another_name_than_outputs_is_never_taken_for_them(tmp_path, name):
    path = tmp_path / "y.npz"
    np.savez(path, **{name: WHOLE[:, -1]})
    refused(path, f"expected outputs, received {name} alone, which is something else")
    refused(f"{path}#{name}", f"expected outputs, received {name}, which is something else")


@pytest.mark.parametrize("name", ["h_n", "c_n", "Y_h", "state", "hidden", "encoder_state_2"])
def test_what_has_the_name_of_a_state_is_taken_for_outputs_only_when_told_so(tmp_path, name):
    path = tmp_path / "y.npz"
    np.savez(path, **{name: WHOLE[:, -1]})
    refused(path, f"received {name} alone, by its name a state; append #{name} if it is the outp")
    assert read(f"{path}#{name}").outputs.tolist() == WHOLE[:, -1].tolist()


def test_an_array_by_its_name(tmp_path):
    path = tmp_path / "y.npz"
    np.savez(path, a=WHOLE, b=WHOLE.transpose(1, 0, 2))
    refused(path, "received a, b; append #NAME for the outputs")
    refused(f"{path}#c", "expected one of a, b, received #c")
    answer = read(f"{path}?axes=TBH#b")
    assert answer.outputs.tolist() == WHOLE.tolist()
    assert (answer.left_out, answer.part) == ((), "")
    np.save(tmp_path / "y.npy", WHOLE)
    refused(f"{tmp_path / 'y.npy'}#a", "holds one array, none named 'a'; leave #... out")


def test_two_arrays_of_one_name_are_refused(tmp_path):
    path, buffer = tmp_path / "y.npz", io.BytesIO()
    np.save(buffer, WHOLE)
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("outputs", "outputs.npy"):
            archive.writestr(name, buffer.getvalue())
    refused(path, "expected each array once, received two named 'outputs'")


def test_other_units_are_a_result(tmp_path):
    path = tmp_path / "y.npy"
    for array in (WHOLE[..., :2], WHOLE[:, -1, :2], np.zeros((B, T, 0)), np.zeros((B, 0))):
        np.save(path, array)
        assert read(path).outputs.tolist() == array.tolist()
    rows = csv(tmp_path, lines(WHOLE[..., :2].reshape(B * T, 2)))
    assert read(rows).outputs.tolist() == WHOLE[..., :2].tolist()


@pytest.mark.parametrize("rows", [WHOLE[:, 0, :2], PER_STEP[:-1]])
def test_rows_that_fit_nothing_are_a_result_with_a_note(tmp_path, rows):
    path = csv(tmp_path, lines(rows))
    answer = read(path)
    assert answer.outputs.tolist() == rows.tolist()
    assert answer.notes == (
        f"against {str(path)!r}: expected 6 rows of 4 numbers (one per timestep, sample after "
        f"sample), 2 of 12 (one per sample) or 2 of 4 (the last output alone), received "
        f"{len(rows)} rows of {rows.shape[1]} numbers",
    )


def refused(path, words):
    with pytest.raises(InputError, match=words) as error:
        read(path)
    assert "\n" not in str(error.value)


def test_bad_archives_are_one_line(tmp_path):
    path = tmp_path / "y.npz"
    np.savez(path, a=WHOLE, b=WHOLE)
    refused(path, "expected one array, or outputs, final_state_h, final_state_c; received a, b")
    np.savez(path, outputs=np.array([{}], dtype=object))
    refused(path, "outputs.npy: expected floats, received dtype object")
    path.write_bytes(path.read_bytes()[:-30])
    refused(path, "received a truncated or damaged one")
    path.write_bytes(b"")
    refused(path, "received a truncated or damaged one")
    with zipfile.ZipFile(path, "w"):
        pass
    refused(path, "expected one array, or outputs, .*; received none")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("outputs.npy", b"no array")
    refused(path, "received a truncated or damaged one")


def test_an_archive_that_claims_too_much_is_not_read(tmp_path, monkeypatch):
    with (
        zipfile.ZipFile(tmp_path / "y.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("outputs.npy", "w", force_zip64=True) as file,
    ):
        for _ in range(9):
            file.write(bytes(2**20))
    monkeypatch.setenv(VARIABLE, "0.03125")
    refused(tmp_path / "y.npz", "expected at most 8 MiB, received arrays of 9 MiB; .* or set .*=1")


def test_two_arrays_of_one_name(tmp_path):
    """`x` and `x.npy`: whichever one is read, the other may have been meant."""
    words = "expected each array once, received two named 'final_state_h'"
    refused(DAMAGED / "twice-outputs.npz", words)


@pytest.mark.parametrize("axes", ["", "BT", "BTT", "XYZ", "BTHH"])
def test_axes_are_letters(tmp_path, axes):
    with pytest.raises(InputError, match="expected axes of the letters B, T, H, such as TBH"):
        implementation(f"y.csv?axes={axes}")


def test_axes_that_do_not_fit(tmp_path):
    np.save(tmp_path / "y.npy", np.zeros((2, 2)))
    with pytest.raises(InputError, match=r"expected 3 \(T\) x 2 \(B\) x 4 \(H\) numbers, received"):
        read(f"{tmp_path}/y.npy?axes=TBH")
    assert read(f"{tmp_path}/y.npy?axes=HB", request(units=2)).outputs.shape == (2, 2)


@pytest.mark.parametrize(("dtype", "digits"), [("float16", 9), ("float32", 9), ("float64", 17)])
def test_what_is_written_can_be_read_to_the_last_bit(tmp_path, dtype, digits):
    numbers = (np.random.default_rng(0).normal(size=(B, T, H)) / 3).astype(dtype)
    for extension in (".csv", ".npy"):
        path = tmp_path / f"x{extension}"
        path.write_bytes(encoded(numbers, extension))
        assert (read(path).outputs.astype(dtype) == numbers).all()
    assert len(csv_text(numbers).split("\n")) == B * T + 1
    assert (
        csv_text(np.full((1, 1), 1 / 3, dtype)) == f"{float(np.array(1 / 3, dtype)):.{digits}g}\n"
    )


def test_what_other_programs_do_not_know_is_widened(tmp_path):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    path = tmp_path / "x.npy"
    path.write_bytes(encoded(np.ones((1, 1, 1), ml_dtypes.bfloat16), ".npy"))
    assert np.load(path).dtype == np.float32
