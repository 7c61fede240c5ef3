"""What one known mistake is, and how it is recognised."""

from __future__ import annotations

from dataclasses import dataclass

from rnn_parity.sweep.marks import Marks
from rnn_parity.sweep.numbers import Numbers
from rnn_parity.sweep.space import Configuration, Space
from rnn_parity.verdict.order import Status
from rnn_parity.verdict.sweep_results import Outcome

EVERY_LAYER = ("simple_rnn", "lstm", "gru")
A_MASK = ("right", "left", "random")
OF_THE_RECURRENCE = (
    *("dtype", "mask", "initial_state", "calls", "stateful", "return_sequences", "return_state"),
    *("use_bias", "unit_forget_bias", "recurrent_activation", "reset_after"),
    *("go_backwards", "zero_output_for_mask"),
)
"""What marks take into account that replay all calls with the mistake in them."""
OTHER_BACKENDS = ("keras:jax", "keras:torch", "keras:numpy", "keras:openvino")


@dataclass(frozen=True)
class Known:
    """One mistake of Keras's: the options that matter, what is wrong and what would be right."""

    id: str
    layers: tuple[str, ...]
    options: Space
    verdict: Status
    keras: str
    """The versions in which it was seen."""
    wrong: str
    right: str
    marks: Marks

    against: tuple[str | None, ...] = (None,)
    """Who makes the mistake: None is Keras on TensorFlow, others are named as sources are."""
    beside: tuple[str, ...] = ()
    """Options that may matter too, where they decide how large or how exact the numbers are."""
    also: tuple[Status, ...] = ()
    """Verdicts that it gets, too, where the bounds are too wide to prove what the marks tell."""

    def matches(
        self,
        configuration: Configuration,
        outcome: Outcome,
        numbers: Numbers | None,
        against: str | None,
    ) -> bool:
        """Whether a smallest configuration shows this mistake and nothing else."""
        changed = configuration.changed
        return (
            configuration.layer in self.layers
            and against in self.against
            and self.options.keys() <= changed.keys() <= {*self.options, *self.beside}
            and all(changed[name] in values for name, values in self.options.items())
            and outcome.verdict in (self.verdict, *self.also)
            and self.marks(configuration, outcome, numbers)
        )
