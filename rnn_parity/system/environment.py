"""What is installed: versions from package metadata. The standard library alone."""

from __future__ import annotations

import importlib.metadata
import os
import platform


def version_of(*distributions: str) -> str | None:
    """The version of the first of `distributions` that is installed, or None. Imports none."""
    for name in distributions:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def own_version() -> str:
    """The version of rnn-parity; "unknown" when it runs from a folder that is not installed."""
    return version_of("rnn-parity") or "unknown"


def keras_version() -> str | None:
    """The version of the Keras behind `tf.keras`, which follows TF_USE_LEGACY_KERAS."""
    # The spellings that TensorFlow itself takes for yes.
    legacy = os.environ.get("TF_USE_LEGACY_KERAS") in ("1", "true", "True")
    # A pre-release has another name.
    names = ("keras", "keras-nightly")
    return version_of("tf-keras", *names) if legacy else version_of(*names)


def environment(device: str) -> dict[str, str | None]:
    """What the numbers depend on: versions (None where absent), the platform and the device."""
    return {
        "python": platform.python_version(),
        "numpy": version_of("numpy"),
        "tensorflow": version_of("tensorflow", "tensorflow-cpu", "tf-nightly"),
        "keras": keras_version(),
        "platform": platform.platform(),
        "device": device,
    }
