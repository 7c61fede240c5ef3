"""Plain files, opened and read within the limit of sizes. The standard library alone."""

from __future__ import annotations

import os
import stat
from typing import BinaryIO

from rnn_parity.errors import InputError
from rnn_parity.system.limits import check_content

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


def reason(error: OSError) -> str:
    """Why the system refused, without the path and the error number."""
    return error.strerror or str(error)
