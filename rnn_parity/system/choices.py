"""The words among which a person chooses, on the command line, in Python and in a project's table.

The standard library alone, so that the command line knows them before anything is imported.
"""

from __future__ import annotations

LAYER_CLASSES = {"simple_rnn": "SimpleRNN", "lstm": "LSTM", "gru": "GRU"}
"""The names of layers, and those of their classes in Keras."""
WRAPPERS = ("rnn", "stacked", "bidirectional")
"""What a layer can be wrapped in: a cell in an `RNN`, a stack of cells, a `Bidirectional`."""


def layer_word(text: str) -> str:
    """The name among the layers and wrappers that `text` spells in any way, else `text` itself.

    `SimpleRNN`, `simple_rnn` and `simple-rnn` are one layer.
    """

    def bare(name: str) -> str:
        return name.lower().replace("_", "").replace("-", "")

    known = (*LAYER_CLASSES, *WRAPPERS)
    return next((name for name in known if bare(name) == bare(text)), text)


MODES = ("eager", "graph", "xla", "predict")
"""How Keras runs a layer or a model."""
ALL_MODES = "all"
"""Stands for every one of them."""
MASKS = ("none", "right", "left", "random")
"""Which timesteps a generated mask hides: none, padding after or before, or any of them."""
INITIAL_STATES = ("zeros", "random")
"""From which states a generated layer starts."""
