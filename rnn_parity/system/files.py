"""Files read within the limit of sizes, and written so that a crash leaves the old or the new one.

Plain files, `.npy` arrays and the entries of `.npz` archives are read; nothing is unpickled, and no
size is believed before it is held against another. Every function raises `InputError`, one line,
when a file is not what it should be.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from uuid import uuid4

from rnn_parity.errors import InputError, nearest
from rnn_parity.system.limits import check_content, check_numbers

# NumPy itself is imported where an array is read: settings and reports do without.
if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

try:
    import fcntl
except ImportError:  # Windows has no such locks: there, what a killed process left stays
    fcntl = None  # type: ignore[assignment]

REAL = "fiub"
"""The kinds of dtype that hold real numbers: floats, integers, booleans."""
WANTED = "a .npy file of real numbers"
PREFIX, SUFFIX = ".rnn-parity-", ".tmp"
"""The name of a file that is being written; a random part stands between."""
ARCHIVED = {"b": "booleans", "f": "floats", "U": "text", REAL: "real numbers"}
"""The kinds of dtype of an array in a `.npz` archive, in words."""
LARGE = 1 << 24
"""Bytes from which on a working copy stands in a temporary file: 16 MiB. Chosen."""
LONGEST_HEADER = 2**16
"""Far beyond the header of any array of numbers, which takes some hundred bytes."""


def read_array(
    path: str,
    name: str,
    ndim: tuple[int, ...],
    kinds: str = REAL,
    empty: bool = False,
    save: str = "float32",
) -> NDArray[Any]:
    """The array in the `.npy` file `path`, memory-mapped and read-only, in any memory order.

    It must have one of the ranks `ndim`, no empty axis unless `empty`, and a dtype whose kind is
    one of `kinds`; NaN and infinity are accepted. `name` is what the messages call it, `save` the
    dtype that they advise. Nothing is unpickled.
    """
    where = f"{name} {path!r}: expected {WANTED}"
    check_is_npy(path, f"{name} {path!r}")
    array = mapped(path, where, save)
    check_numbers(array.size, f"{name} {path!r}", "name a smaller file", "an array")
    if array.dtype.kind not in kinds:
        raise InputError(f"{where}, received dtype {array.dtype}; save it as {save}")
    if array.ndim not in ndim or (0 in array.shape and not empty):
        ranks = " or ".join(map(str, ndim))
        raise InputError(f"{where} with {ranks} axes, none empty, received shape {array.shape}")
    return array


def read_arrays(path: str, name: str) -> dict[str, NDArray[Any]]:
    """The arrays of real numbers in the `.npz` file `path` by their names, read-only.

    `name` is what the messages call it. Nothing is unpickled.
    """
    where = f"{name} {path!r}"
    try:
        with readable(where), plain_file(path, where) as file, zipfile.ZipFile(file) as archive:
            entries = entries_of(archive, where)
            found = {one: read_entry(archive, entry, REAL, where) for one, entry in entries.items()}
    except InputError:
        raise
    # A damaged archive fails in the directory, the decompression or a header.
    except Exception:
        raise InputError(
            f"{where}: expected a .npz file of arrays, received a truncated or damaged one, or "
            "another kind of file; write it with numpy.savez"
        ) from None
    if not found:
        raise InputError(f"{where}: expected a .npz file of arrays, received one without any")
    return found


def absent(path: str) -> str:
    """That there is no such file or folder, and which one beside it has nearly its name."""
    folder, name = os.path.split(path.rstrip("/\\"))
    near = ""
    with contextlib.suppress(OSError):
        near = nearest(name, sorted(os.listdir(folder or os.curdir)))
    meant = near.replace("did you mean ", f"did you mean {os.path.join(folder, '')}")
    return f"no such file or folder{meant}"


def check_is_npy(path: str, name: str) -> None:
    """Raise `InputError` unless `path` is a readable file that begins as a `.npy` file does."""
    where = f"{name}: expected {WANTED}"
    try:
        with plain_file(path, name, WANTED, whole=False) as file:
            start = file.read(12)
    except OSError as error:
        raise InputError(f"{where}, which cannot be read: {reason(error)}") from None
    if not start:
        raise InputError(f"{where}, received an empty file; write it again with numpy.save")
    if start.startswith(b"PK"):
        raise InputError(f"{where}, received a .npz or another archive; save one array of it")
    if not b"\x93NUMPY".startswith(start[:6]):
        raise InputError(f"{where}, received another kind of file; write it with numpy.save")
    # From version 2 on, four bytes say how long the header is, which NumPy reads before it looks.
    if start[6:7] not in (b"", b"\x01") and int.from_bytes(start[8:], "little") > LONGEST_HEADER:
        raise InputError(f"{where}, received a truncated or damaged one; write it again")


def mapped(path: str, where: str, save: str) -> NDArray[Any]:
    """The array in a file that begins as a `.npy` file does."""
    import numpy as np

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    # A damaged header fails in the parser, in the mapping, or in the arithmetic between.
    except Exception as error:
        if "Python objects" in str(error):
            raise InputError(f"{where}, received Python objects; save it as {save}") from None
        raise InputError(f"{where}, received a truncated or damaged one; write it again") from None
    return array


def is_mapped(array: NDArray[Any]) -> bool:
    """Whether an array is a memory map, or a view of one."""
    import numpy as np

    owner: Any = array
    while isinstance(owner, np.ndarray):
        if isinstance(owner, np.memmap):
            return True
        owner = owner.base
    return False


def room_for(array: NDArray[Any]) -> NDArray[Any]:
    """Zeros in the shape and the dtype of an array; where that is large, in a temporary file in
    place of the memory, as far as there is room for one.
    """
    import numpy as np

    if array.nbytes >= LARGE:
        with contextlib.suppress(OSError), tempfile.TemporaryFile(prefix=PREFIX) as file:
            return np.memmap(file, array.dtype, "w+", shape=array.shape)
    return np.zeros_like(array, order="C", subok=False)


def entries_of(archive: zipfile.ZipFile, where: str) -> dict[str, zipfile.ZipInfo]:
    """The entries of an archive of arrays by their names, which none of them may share.

    Raises `InputError` for two of one name, for encrypted ones, and for more than may be read.
    """
    found: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        name = entry.filename.removesuffix(".npy")
        if name in found:
            raise InputError(f"{where}: expected each array once, received two named {name!r}")
        if entry.flag_bits & ENCRYPTED:
            raise InputError(f"{where}: {name!r} is encrypted; write it without a password")
        found[name] = entry
    check_content(sum(entry.file_size for entry in found.values()), where, "arrays")
    return found


def read_entry(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, kinds: str, where: str
) -> NDArray[Any]:
    """One array of the archive, read-only, after its header has been held against its size."""
    import numpy as np

    with archive.open(entry) as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError("not as numpy.savez writes it")
        header = np.lib.format.read_array_header_1_0(file)
        shape, is_fortran, dtype = header
        if dtype.kind not in kinds or dtype.name in ("longdouble", "float128"):
            raise InputError(
                f"{where}: {entry.filename}: expected {ARCHIVED[kinds]}, received dtype {dtype}"
            )
        count = int(np.prod(shape, dtype=object))
        data = file.read(count * dtype.itemsize + 1)
    if len(data) != count * dtype.itemsize:
        raise ValueError("its size is not that of its shape")
    array: NDArray[Any] = np.frombuffer(data, dtype, count)
    return array.reshape(shape, order="F" if is_fortran else "C")


def read_mask(path: str, shape: tuple[int, ...] | None, name: str = "mask") -> NDArray[np.bool_]:
    """The mask `(batch, timesteps)` in the `.npy` file `path`: booleans, or numbers all 0 or 1.

    It must have `shape`, unless that is None. `name` is what the messages call it.
    """
    import numpy as np

    array = np.asarray(read_array(path, name, (2,), save="booleans"))
    if shape not in (None, array.shape):
        raise InputError(f"{name} {path!r}: expected shape {shape}, received {array.shape}")
    mask: NDArray[np.bool_] = array.astype(bool)
    wrong = array[array != mask]
    if wrong.size:
        raise InputError(f"{name} {path!r}: expected booleans or 0 and 1, received {wrong[0]}")
    return mask


def check_writable(path: str) -> None:
    """Raise `InputError` unless `path` can be written, as far as one can tell without writing."""
    target = resolved(path)
    try:
        if target.is_dir():
            raise InputError(f"cannot write {path!r}: it is a directory; name a file in it")
        if target.exists() and not os.access(target, os.W_OK):
            raise InputError(f"cannot write {path!r}: it is not writable; name another file")
        if is_replaceable(target):
            tempfile.TemporaryFile(dir=target.parent).close()
    except OSError as error:
        raise InputError(f"cannot write {path!r}: {reason(error)}") from None


def write_text(path: str, text: str) -> None:
    """Write `text` as UTF-8 to `path`, as `write_bytes` does."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_bytes(path: str, data: bytes) -> None:
    """Write `data` to `path`, through a temporary file beside it that is then renamed.

    A device or a pipe is written in place. Nothing partial stays behind when it fails.
    """
    check_writable(path)
    target = resolved(path)
    try:
        if is_replaceable(target):
            replace(target, data)
        else:
            target.write_bytes(data)
    except OSError as error:
        raise InputError(f"cannot write {path!r}: {reason(error)}") from None


def resolved(path: str) -> Path:
    """`path` itself, or what it links to: writing replaces that, not the link."""
    return Path(os.path.realpath(path))


def is_replaceable(target: Path) -> bool:
    """Whether `target` is a plain file or nothing yet, as opposed to a device or a pipe."""
    return target.is_file() or not target.exists()


def replace(target: Path, data: bytes) -> None:
    """Write, flush and rename, so that a crash leaves the old file or the new one.

    What killed processes left of their files beside `target` is removed.
    """
    with temporary_beside(target) as (temporary, file):
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, temporary)
        if fcntl is None:  # Windows renames no open file
            file.close()
        temporary.replace(target)
    remove_abandoned(target.parent)


@contextlib.contextmanager
def temporary_beside(target: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A new file beside `target`, locked until the block or the process ends, however it ends.

    Nobody but its owner may read it while it has the content of a file that others may not read.
    It is removed when the block fails.
    """
    mode = 0o600 if target.exists() else 0o666  # the latter as the process's umask has it
    while True:
        path = target.with_name(f"{PREFIX}{uuid4().hex}{SUFFIX}")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | BINARY, mode)
        with os.fdopen(descriptor, "wb") as file:
            lock(descriptor)
            if os.fstat(descriptor).st_nlink == 0:
                continue  # taken for abandoned before it was locked, and removed
            try:
                yield path, file
            except BaseException:
                path.unlink(missing_ok=True)
                raise
            return


def lock(descriptor: int) -> None:
    """Lock an open file for this process alone, where the file system has locks."""
    if fcntl is not None:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary files in `folder` that no process has locked any more.

    Only plain files are looked at: opening a pipe of such a name would wait for its writer.
    """
    for path in folder.glob(f"{PREFIX}*{SUFFIX}") if fcntl is not None else ():
        # It is locked, somebody else's, no plain file, or gone by now.
        with contextlib.suppress(OSError):
            if not stat.S_ISREG(os.lstat(path).st_mode):
                continue
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            finally:
                os.close(descriptor)


BINARY = getattr(os, "O_BINARY", 0)
"""Without it, Windows would translate line ends."""
ENCRYPTED = 1
"""The bit among the flags of an entry of a zip archive that says so."""


def content(path: str | os.PathLike[str], where: str, wanted: str = "", share: int = 1) -> bytes:
    """The bytes of the plain file `path`, of at most a `share` of the limit of one file.

    Raises as `plain_file` does.
    """
    with plain_file(path, where, wanted) as file:
        check_content(os.fstat(file.fileno()).st_size, where, share=share)
        return file.read()


def plain_file(
    path: str | os.PathLike[str], where: str, wanted: str = "", whole: bool = True
) -> BinaryIO:
    """The file `path`, open for reading.

    Raises `InputError` for what is no plain file, which may never end or never begin (a device, a
    pipe), and, for one that is read as a `whole`, beyond the limit of sizes; `OSError` for what
    cannot be opened. `where` begins the message, which says what is `wanted`.
    """
    if stat.S_ISREG(os.stat(path).st_mode):  # opening a device may do something
        # It may have become a pipe by now, which would wait for a writer.
        file = os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | BINARY), "rb")
        found = os.fstat(file.fileno())
        if stat.S_ISREG(found.st_mode):
            if whole:
                check_content(found.st_size, where)
            return file
        file.close()
    kind = "a directory" if os.path.isdir(path) else "something that is not a plain file"
    expected = f"expected {wanted}, " if wanted else ""
    raise InputError(f"{where}: {expected}received {kind}; name a file")


@contextlib.contextmanager
def readable(where: str) -> Iterator[None]:
    """What cannot be read in this block, as an `InputError` that begins with `where`."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{where}: cannot be read: {reason(error)}") from None


def reason(error: OSError) -> str:
    """Why the system refused, without the path and the error number."""
    return error.strerror or str(error)
