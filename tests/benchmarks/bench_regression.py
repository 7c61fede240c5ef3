"""What Keras itself takes for recorded cases: `bench_regression.py FOLDER` builds each layer from
its configuration and weights, and runs it once in the recorded mode. Nothing is compared.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from rnn_parity.api.recorded import masks_of
from rnn_parity.cases.case import Case, read_case
from rnn_parity.keras_adapter import tensorflow_module
from rnn_parity.keras_adapter.building import rebuild_layer


def run(case: Case) -> None:
    """Build the layer and run it."""
    tf = tensorflow_module()
    layer = rebuild_layer(
        case.layer_class, case.config, case.weights(), len(case.inputs), masks_of(case)
    )
    layer.build(case.inputs.shape)
    options: dict[str, Any] = {} if case.mask is None else {"mask": tf.constant(case.mask)}
    if case.initial_state:
        options["initial_state"] = [tf.cast(s, layer.compute_dtype) for s in case.initial_state]
    call = layer
    if case.mode != "eager":
        call = tf.function(lambda x, **o: layer(x, **o), autograph=False)
    result = call(tf.cast(case.inputs, layer.compute_dtype), **options)
    tf.nest.map_structure(lambda one: one.numpy(), result)


def main() -> None:
    for path in sorted(Path(sys.argv[1]).rglob("*.npz")):
        run(read_case(path))


if __name__ == "__main__":
    main()
