"""TensorFlow itself: its quiet import, its device, the modes in which it runs, its refusals.

`tensorflow_module` is the one place where it is imported.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rnn_parity.errors import InputError, MissingPackageError, RnnParityError, misspelt, one_line
from rnn_parity.system.choices import ALL_MODES, MODES
from rnn_parity.system.progress import on_terminal

if TYPE_CHECKING:
    import logging

NEVER_TRAINS = "predict"

Program: TypeAlias = Callable[[Any], Mapping[str, Any]]
"""From a nested structure of tensors to named tensors."""
Method = Callable[..., Any]


def tensorflow_module() -> Any:
    """TensorFlow, with its banners and log lines suppressed when this is its first import.

    A process that imported TensorFlow itself keeps its own settings. Raises `MissingPackageError`
    when TensorFlow (or the Keras that it asks for) is not installed, `InputError` when Keras runs
    on another backend.
    """
    return _first_import()[0]


@cache
def _first_import() -> tuple[Any, bool]:
    """TensorFlow, and whether this package was the first to import it."""
    ours = "tensorflow" not in sys.modules
    if ours:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        if "keras" not in sys.modules:
            os.environ["KERAS_BACKEND"] = "tensorflow"
    with on_terminal("loading TensorFlow"), _silence(ours):
        tf = _import()
    if tf.keras.backend.backend() != "tensorflow":
        raise InputError(
            f"Keras: expected the TensorFlow backend, received {tf.keras.backend.backend()!r}; "
            "set KERAS_BACKEND=tensorflow"
        )
    return tf, ours


def _import() -> Any:
    try:
        import tensorflow as tf

        # `tf.keras` is loaded on first use, and may be missing on its own.
        tf.keras.layers  # noqa: B018
    except ImportError as error:
        missing = "tf_keras" if "tf_keras" in str(error) else "tensorflow>=2.15"
        raise MissingPackageError(
            f"this needs TensorFlow, which could not be imported ({one_line(error)}); "
            f"install it with: pip install '{missing}'"
        ) from error
    return tf


def keras_major() -> int:
    """2 or 3: the generation of Keras behind `tf.keras`."""
    return 3 if hasattr(tensorflow_module().keras, "ops") else 2


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings from Keras and no log lines from TensorFlow's C++ parts in this block.

    The C++ parts write to file descriptor 2 whatever the log level says (XLA's start-up does);
    it is left alone in a process that imported TensorFlow itself.
    """
    with _silence(_first_import()[1]):
        yield


@contextmanager
def _silence(descriptor_too: bool) -> Iterator[None]:
    import logging

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not descriptor_too:
            with _without_advice(logging.getLogger("tensorflow")):
                yield
            return
        loggers = [logging.getLogger(name) for name in ("absl", "tensorflow")]
        levels = [logger.level for logger in loggers]
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            with _descriptor_2_closed():
                yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextmanager
def _without_advice(logger: logging.Logger) -> Iterator[None]:
    """The logger of TensorFlow without its advice on retracing in this block."""
    # Each block has a filter of its own: one inside another would take the same away.
    heard = functools.partial(_is_no_retracing)
    logger.addFilter(heard)
    try:
        yield
    finally:
        logger.removeFilter(heard)


def _is_no_retracing(record: logging.LogRecord) -> bool:
    """Whether a record is not TensorFlow's advice on functions that are traced again and again.

    It counts by the code of a function. Each layer that is checked is traced once, by the same
    code, so that the advice is about nothing that its user could change.
    """
    return "tf.function retracing" not in record.getMessage()


@contextmanager
def _descriptor_2_closed() -> Iterator[None]:
    """File descriptor 2 leads to the null device in this block."""
    try:
        kept = os.dup(2)
    except OSError:  # the process has no standard error
        yield
        return
    sys.stderr.flush()
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


@contextmanager
def refusals(subject: str) -> Iterator[None]:
    """Turns whatever Keras raises in this block into an `InputError` of one line about `subject`.

    Keras refuses the same thing with a different exception in every version and mode, hence the
    broad net; the original stays attached as `__cause__`.
    """
    try:
        with quiet():
            yield
    except RnnParityError:
        raise
    except Exception as error:
        tf = tensorflow_module()
        if isinstance(error, (MemoryError, tf.errors.ResourceExhaustedError)):
            raise InputError(
                f"{subject}: not enough memory ({one_line(error)}); use smaller sizes"
            ) from error
        raise InputError(f"{subject}: Keras refused: {one_line(error)}") from error


def device() -> str:
    """Where the layers run: "cpu", or the name of the first GPU that TensorFlow sees."""
    tf = tensorflow_module()
    with quiet():
        gpus = tf.config.list_physical_devices("GPU")
        if not gpus:
            return "cpu"
        return str(tf.config.experimental.get_device_details(gpus[0]).get("device_name", "gpu"))


def modes_of(name: str, training: bool = False) -> tuple[str, ...]:
    """The modes that a name stands for; "all" for every one of them, in training that trains.

    Raises `InputError` for any other name, and for a mode that never trains.
    """
    known = tuple(mode for mode in MODES if not training or mode != NEVER_TRAINS)
    if name not in (*known, ALL_MODES):
        expected = f"expected one of {', '.join(known)}, all"
        if training:
            raise InputError(f"mode: {expected}, received {name!r}; {NEVER_TRAINS} never trains")
        raise InputError(f"mode: {misspelt(str(name), (*known, ALL_MODES), expected)}")
    return known if name == ALL_MODES else (name,)


def runner(program: Program, root: Any, mode: str) -> Callable[[Any], dict[str, NDArray[Any]]]:
    """`program` as it runs in `mode`: from nested arrays to named arrays.

    `root` is the layer or model that the program calls; `predict` compiles as it would for `root`.
    Every array has its batch axis first, because `predict` insists on it. Raises `InputError` for
    an unknown mode.
    """
    if mode not in MODES:
        raise InputError(f"mode: expected one of {', '.join(MODES)}, received {mode!r}")
    if mode == "predict":
        return _predictor(program, root)
    tf = tensorflow_module()
    call = program
    if mode != "eager":
        # Keras 2 lets autograph rewrite a user's `call` if it rewrites the function around it. With
        # Keras 3 it only reaches this package's own functions, slowly and in vain.
        jit = True if mode == "xla" else None
        call = tf.function(program, autograph=keras_major() == 2, jit_compile=jit)

    def run(data: Any) -> dict[str, NDArray[Any]]:
        results = call(tf.nest.map_structure(tf.convert_to_tensor, data))
        return {name: value.numpy() for name, value in results.items()}

    return run


def _predictor(program: Program, root: Any) -> Callable[[Any], dict[str, NDArray[Any]]]:
    tf = tensorflow_module()

    class Wrapper(tf.keras.Model):  # type: ignore[misc,name-defined]  # TensorFlow is untyped
        """A model that returns what the program returns."""

        def __init__(self) -> None:
            # The root's own cast is the one to observe, not one of this wrapper.
            super().__init__(autocast=False)
            self.root = root
            self.built = True

        def call(self, data: Any) -> Mapping[str, Any]:
            return program(data)

    model = Wrapper()
    if hasattr(root, "jit_compile"):
        model.jit_compile = root.jit_compile

    def run(data: Any) -> dict[str, NDArray[Any]]:
        batch = len(tf.nest.flatten(data)[0])
        results = model.predict(data, batch_size=batch, verbose=0)
        return {name: np.asarray(value) for name, value in results.items()}

    return run


@contextmanager
def instead(layer: Any, change: Callable[[Method], Method], name: str = "call") -> Iterator[None]:
    """The layer's method `name` is `change` of its own in this block, and its own after it."""
    method, kept = getattr(layer, name), {n: m for n, m in layer.__dict__.items() if n == name}
    changed = functools.wraps(method)(change(method))
    # Keras looks at the names of the arguments before it passes any.
    changed.__signature__ = inspect.signature(method)  # type: ignore[attr-defined]
    # Straight into the instance's dictionary: Keras's own __setattr__ tracks what it is given.
    layer.__dict__[name] = changed
    try:
        yield
    finally:
        del layer.__dict__[name]
        layer.__dict__.update(kept)
