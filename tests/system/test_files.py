"""Arrays in and text out: what is refused, in one line, and what a failure leaves behind."""

import errno
import os
import stat

import numpy as np
import pytest

from rnn_parity.errors import InputError
from rnn_parity.system import files
from rnn_parity.system.files import check_writable, read_array, read_mask, write_text


def saved(folder, array, name="x.npy") -> str:
    path = str(folder / name)
    np.save(path, array)
    return path


def refusal(function, *args) -> str:
    with pytest.raises(InputError) as caught:
        function(*args)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    "dtype", ["float64", "float32", "float16", ">f4", "int8", "uint32", "bool"]
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_numbers_are_read_as_they_are(tmp_path, dtype, order):
    array = np.array(np.arange(24).reshape(2, 3, 4) % 2, dtype=dtype, order=order)
    found = read_array(saved(tmp_path, array), "--input", (3,))
    assert isinstance(found, np.memmap)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_not_a_number_and_infinity_are_accepted(tmp_path):
    found = read_array(saved(tmp_path, np.array([[np.nan, np.inf, -np.inf]])), "--input", (2, 3))
    np.testing.assert_array_equal(found, [[np.nan, np.inf, -np.inf]])


def header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


HUGE = header("{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 4, 4)}\n")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "received an empty file"),
        (b"1,2,3\n", "received another kind of file"),
        (b"\x93NUMPZ", "received another kind of file"),
        (b"PK\x03\x04rest", "received a .npz or another archive"),
        (b"\x89HDF\r\n\x1a\n", "received another kind of file"),
        (b"\x80\x04\x95pickle", "received another kind of file"),
        (b"\x93NUM", "truncated or damaged"),
        (b"\x93NUMPY\x01\x00", "truncated or damaged"),
        (header("{'a': [("), "truncated or damaged"),
        (header("1L"), "truncated or damaged"),
        (HUGE, "truncated or damaged"),
    ],
)
def test_other_contents_are_refused(tmp_path, content, words, recwarn):
    path = tmp_path / "x.npy"
    path.write_bytes(content)
    message = refusal(read_array, str(path), "--input", (3,))
    assert message.startswith(f"--input '{path}': expected a .npy file of real numbers, ")
    assert words in message
    assert not recwarn.list


def test_a_file_cut_short_is_refused(tmp_path):
    path = saved(tmp_path, np.zeros((4, 5, 6)))
    os.truncate(path, os.path.getsize(path) - 1)
    assert "truncated or damaged" in refusal(read_array, path, "--input", (3,))


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array(["a"]), "received dtype <U1"),
        (np.array([b"a"]), "received dtype |S1"),
        (np.array([1j]), "received dtype complex128"),
        (np.array([{}]), "received Python objects"),
        (np.zeros(1, [("a", "f4")]), "received dtype [('a', '<f4')]"),
        (np.array(["2020-01-01"], "M8[D]"), "received dtype datetime64[D]"),
        (np.zeros((2, 3)), "with 1 or 3 axes, none empty, received shape (2, 3)"),
        (np.float32(1), "received shape ()"),
        (np.zeros((2, 0, 3)), "received shape (2, 0, 3)"),
    ],
)
def test_other_arrays_are_refused(tmp_path, array, words):
    assert words in refusal(read_array, saved(tmp_path, array), "--input", (1, 3))


def test_a_path_that_is_no_file_is_refused(tmp_path):
    missing, pipe = tmp_path / "missing.npy", tmp_path / "pipe"
    os.mkfifo(pipe)
    assert "No such file or directory" in refusal(read_array, str(missing), "--input", (3,))
    assert "received a directory" in refusal(read_array, str(tmp_path), "--input", (3,))
    assert "not a plain file" in refusal(read_array, str(pipe), "--input", (3,))


def test_an_unreadable_file_is_refused(tmp_path, monkeypatch):
    path = saved(tmp_path, np.zeros(3))

    def forbidden(*args):
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(os, "open", forbidden)  # the tests may run as root
    message = refusal(read_array, path, "--input", (1,))
    assert message.endswith("which cannot be read: Permission denied")


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float32"])
def test_a_mask_is_boolean_like(tmp_path, dtype):
    found = read_mask(saved(tmp_path, np.array([[1, 0, 1]], dtype)), (1, 3))
    assert found.dtype == bool
    assert type(found) is np.ndarray
    np.testing.assert_array_equal(found, [[True, False, True]])


@pytest.mark.parametrize("value", [2.0, -1.0, 0.5, np.nan, np.inf])
def test_a_mask_of_other_numbers_is_refused(tmp_path, value):
    path = saved(tmp_path, np.array([[1, 0, value]]))
    message = refusal(read_mask, path, (1, 3), "--mask-file")
    assert message == f"--mask-file '{path}': expected booleans or 0 and 1, received {value}"


def test_a_mask_of_another_shape_is_refused(tmp_path):
    path = saved(tmp_path, np.ones((3, 2), bool))
    assert refusal(read_mask, path, (2, 3)).endswith("expected shape (2, 3), received (3, 2)")
    assert read_mask(path, None).shape == (3, 2)
    path = saved(tmp_path, np.ones((3, 2, 1), bool))
    assert "received shape (3, 2, 1)" in refusal(read_mask, path, None)


def test_text_is_written_and_replaces_what_was_there(tmp_path):
    path = tmp_path / "answer.txt"
    for text in ("first\n", "zweitens: größer\n", "x"):
        write_text(str(path), text)
        assert path.read_text(encoding="utf-8") == text
    assert os.listdir(tmp_path) == ["answer.txt"]


def test_text_is_flushed_before_it_is_renamed(tmp_path, monkeypatch):
    path, steps = tmp_path / "answer.txt", []
    fsync, replace = os.fsync, files.Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (steps.append("flush"), fsync(fd)))
    monkeypatch.setattr(
        files.Path, "replace", lambda *args: (steps.append("rename"), replace(*args))
    )
    write_text(str(path), "text")
    assert steps == ["flush", "rename"]


def test_a_replaced_file_keeps_its_permissions_and_a_link_stays_a_link(tmp_path):
    path, link = tmp_path / "answer.txt", tmp_path / "link.txt"
    path.write_text("old")
    path.chmod(0o640)
    link.symlink_to(path)
    write_text(str(link), "new")
    assert link.is_symlink()
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def seen_while_written(monkeypatch, path, text="new") -> list[int]:
    """The modes of the temporary files beside `path` while `text` is written to it."""
    modes, fsync = [], os.fsync

    def look(descriptor):
        modes.extend(stat.S_IMODE(one.stat().st_mode) for one in path.parent.glob(".rnn*"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    write_text(str(path), text)
    return modes


def test_nobody_else_reads_what_is_written_in_place_of_a_private_file(tmp_path, monkeypatch):
    path = tmp_path / "answer.txt"
    path.write_text("old")
    for mode in (0o600, 0o640):
        path.chmod(mode)
        assert seen_while_written(monkeypatch, path) == [0o600]
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_new_file_has_the_mode_that_the_umask_gives(tmp_path, monkeypatch):
    before = os.umask(0o027)
    try:
        seen_while_written(monkeypatch, tmp_path / "answer.txt")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "answer.txt").stat().st_mode) == 0o640


def test_a_pipe_with_the_name_of_a_temporary_file_hangs_nobody(tmp_path):
    os.mkfifo(tmp_path / ".rnn-parity-0.tmp")
    (tmp_path / ".rnn-parity-1.tmp").symlink_to(tmp_path / ".rnn-parity-0.tmp")
    (tmp_path / ".rnn-parity-2.tmp").mkdir()
    write_text(str(tmp_path / "answer.txt"), "new")
    assert len(os.listdir(tmp_path)) == 4


def test_what_was_abandoned_goes_empty_or_not(tmp_path):
    for i, text in enumerate(("", "half")):
        (tmp_path / f".rnn-parity-{i}.tmp").write_text(text)
    write_text(str(tmp_path / "answer.txt"), "new")
    assert os.listdir(tmp_path) == ["answer.txt"]


def test_a_file_that_is_taken_for_abandoned_before_it_is_locked_is_made_again(
    tmp_path, monkeypatch
):
    """Another writer may remove a file that was just created."""
    lock, removed = files.lock, []

    def late(descriptor):
        if not removed:
            files.remove_abandoned(tmp_path)
            removed.append(os.listdir(tmp_path))
        lock(descriptor)

    monkeypatch.setattr(files, "lock", late)
    write_text(str(tmp_path / "answer.txt"), "new")
    assert removed == [[]]
    assert (tmp_path / "answer.txt").read_text() == "new"
    assert os.listdir(tmp_path) == ["answer.txt"]


def test_a_full_disk_leaves_the_old_file_alone(tmp_path, monkeypatch):
    path = tmp_path / "answer.txt"
    path.write_text("old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    message = refusal(write_text, str(path), "new")
    assert message == f"cannot write '{path}': No space left on device"
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["answer.txt"]


def test_an_interrupt_leaves_no_partial_file(tmp_path, monkeypatch):
    def interrupt(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_text(str(tmp_path / "answer.txt"), "new")
    assert os.listdir(tmp_path) == []


def test_a_device_is_written_in_place(tmp_path):
    assert (
        refusal(write_text, "/dev/full", "x") == "cannot write '/dev/full': No space left on device"
    )
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)
    write_text(os.devnull, "x")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


@pytest.mark.parametrize("function", [check_writable, lambda path: write_text(path, "x")])
def test_where_nothing_can_be_written(tmp_path, monkeypatch, function):
    file = tmp_path / "file"
    file.write_text("old")
    assert "is a directory" in refusal(function, str(tmp_path))
    assert "No such file or directory" in refusal(function, str(tmp_path / "no" / "x"))
    assert "Not a directory" in refusal(function, str(file / "x"))
    assert "File name too long" in refusal(function, str(tmp_path / ("x" * 300)))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "it is not writable" in refusal(function, str(file))
    assert file.read_text() == "old"


def test_checking_leaves_nothing_behind(tmp_path):
    check_writable(str(tmp_path / "answer.txt"))
    assert os.listdir(tmp_path) == []
