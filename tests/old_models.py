"""Models that old releases of Keras saved, with what these computed: fixtures/old_models.zip."""

import zipfile
from pathlib import Path

import numpy as np

ARCHIVE = Path(__file__).parents[1] / "fixtures" / "old_models.zip"


def unpacked(folder):
    """The folder, with all files of the archive in it."""
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(folder)
    return folder


def recorded(path):
    """The inputs and the outputs that stand beside a model."""
    with np.load(path.parent / f"{path.name.rpartition('.')[0]}.npz") as found:
        arrays = dict(found)
    inputs = arrays.pop("inputs")
    return inputs, [arrays[name] for name in sorted(arrays)]
