"""A look at an HDF5 file before anything in it is used.

A dataset takes what its shape says, however little of it the file holds (chunks are compressed or
missing), and it may lie in another file: in external storage, behind a link, or as a virtual one.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Any

from rnn_parity.errors import InputError
from rnn_parity.system.limits import check_content

HEAP = b"GCOL\x01\0\0\0"
"""How a heap of texts begins, in the file format's version 1 of it, the only one."""


def check_heaps(data: bytes | mmap.mmap) -> None:
    """Raise `ValueError` for a damaged heap of texts, which the HDF5 library may read for ever.

    Source: the HDF5 file format specification, "Global Heap": after the signature the size of the
    heap, 8 bytes, then objects, each with 16 bytes of header (an index, 2; 6 others; its size, 8)
    and padded to a multiple of 8. Index 0 is the free space, whose size includes the header. The
    library takes what follows from the sizes, a step of zero among them.
    """
    start = data.find(HEAP)
    while start >= 0:
        end = start + int.from_bytes(data[start + 8 : start + 16], "little")
        at = start + 16
        while at + 16 <= min(end, len(data)):
            size = int.from_bytes(data[at + 8 : at + 16], "little")
            is_free = data[at : at + 2] == b"\0\0"
            step = size if is_free else 16 + -(-size // 8) * 8
            if step < 16 or at + step > end:
                raise ValueError("a heap of texts is damaged")
            at += step
        start = data.find(HEAP, start + 8)


def check_arrays(file: Any, where: str) -> int:
    """How many numbers the arrays in an `h5py.File` hold.

    Raises `InputError` for more than may be read, and for arrays in other files; what is damaged
    may raise anything.
    """
    numbers = total = 0
    for name, dataset in datasets(file, where):
        if dataset.external or dataset.is_virtual:
            raise elsewhere(where, name)
        size = (dataset.size or 0) * dataset.dtype.itemsize
        held = min(dataset.id.get_storage_size(), file.id.get_filesize())
        if dataset.chunks is None and size > held:
            raise ValueError(f"{name!r} has a larger shape than its numbers")
        numbers += dataset.size or 0
        total += size
    check_content(total, where, "arrays")
    return numbers


def datasets(file: Any, where: str) -> Iterator[tuple[str, Any]]:
    """Every dataset in a file, once, with its name."""
    import h5py  # type: ignore[import-untyped]  # comes with TensorFlow, without types

    waiting, seen = [("", file)], set()
    while waiting:
        place, group = waiting.pop()
        for name in group:
            full, link = f"{place}/{name}", group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise elsewhere(where, full)
            if isinstance(link, h5py.SoftLink):
                continue  # what it leads to is in the file, and met there
            found = group[name]
            address = h5py.h5o.get_info(found.id).addr
            if address in seen:  # a group may hold the one that it is in
                continue
            seen.add(address)
            if isinstance(found, h5py.Dataset):
                yield full, found
            elif isinstance(found, h5py.Group):
                waiting.append((full, found))


def elsewhere(where: str, name: str) -> InputError:
    """An array that is not in the file itself."""
    return InputError(
        f"{where}: {name!r} lies in another file, which is not read; save the model whole"
    )
