"""A configuration of a sweep: one combination of a layer's options, and what it is in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from rnn_parity.system.choices import LAYER_CLASSES

Value: TypeAlias = str | int | float | bool

SIZES = ("batch", "timesteps", "features", "units")
"""What is made smaller, down to 1, instead of being given a default."""
OF_RUN = (*SIZES, "dtype", "mask", "initial_state", "calls", "mode", "open_size")
"""How the layer is run; every other option is an argument of its Keras constructor."""
OF_WRAPPER = ("wrapper", "merge_mode")
"""What the layer is wrapped in."""


@dataclass(frozen=True)
class Configuration:
    """One value for every option of a layer; `layer` is its name on the command line.

    `defaults` has the value of every option that is not set, `simplest` the one that it has where
    it does not matter; these are the defaults unless a sweep leaves them out.
    """

    layer: str
    values: tuple[tuple[str, Value], ...]
    defaults: tuple[tuple[str, Value], ...] = field(compare=False, repr=False)
    simplest: tuple[tuple[str, Value], ...] = field(default=(), compare=False, repr=False)

    def __getitem__(self, name: str) -> Value:
        return dict(self.values)[name]

    def but(self, changes: Mapping[str, Value]) -> Configuration:
        """This configuration with other values."""
        new = tuple((name, changes.get(name, value)) for name, value in self.values)
        return replace(self, values=new)

    def without(self, name: str) -> Configuration:
        """This configuration with the simplest value of one option."""
        return self.but({name: dict(self.simplest or self.defaults)[name]})

    @property
    def entry(self) -> dict[str, Value]:
        """The layer and the value of every option, by name."""
        return {"layer": self.layer, **dict(self.values)}

    @property
    def layer_class(self) -> str:
        """The name of the layer's class in Keras."""
        return LAYER_CLASSES[self.layer]

    @property
    def sizes(self) -> dict[str, Value]:
        """The sizes of the layer and its data."""
        return {name: value for name, value in self.values if name in SIZES}

    @property
    def changed(self) -> dict[str, Value]:
        """The options, sizes aside, that do not have their default."""
        return self._apart_from(self.defaults)

    @property
    def varied(self) -> dict[str, Value]:
        """The options, sizes aside, that do not have their simplest value."""
        return self._apart_from(self.simplest or self.defaults)

    def _apart_from(self, others: tuple[tuple[str, Value], ...]) -> dict[str, Value]:
        """The options, sizes aside, that do not have the value of `others`."""
        other = dict(others)
        options = (item for item in self.values if item[0] not in SIZES)
        return {name: value for name, value in options if value != other[name]}

    @property
    def kind(self) -> str:
        """What is built: the layer, or its wrapper, as `--layer` names it."""
        return self.layer if self["wrapper"] == "none" else str(self["wrapper"])

    @property
    def arguments(self) -> dict[str, Value | None]:
        """The arguments of the Keras constructor that matter: what to return, and what changed.

        A wrapper has its own first.
        """
        mode = None if self["merge_mode"] == "none" else self["merge_mode"]
        own: dict[str, dict[str, Value | None]] = {
            "rnn": {"cell": self.layer},
            "stacked": {"cells": self.layer},
            "bidirectional": {"layer": self.layer, "merge_mode": mode},
        }
        returned = {name: self[name] for name in ("return_sequences", "return_state")}
        others = (*OF_RUN, *OF_WRAPPER)
        changed = {name: value for name, value in self.changed.items() if name not in others}
        return {**own.get(self.kind, {}), **returned, **changed}

    @property
    def words(self) -> list[str]:
        """The words of the command line that checks it, without the seed."""
        changed = {name: value for name, value in self.changed.items() if name in OF_RUN}
        how = {"layer": self.kind, "mode": self["mode"], **self.sizes, **changed}
        given = [w for n, v in how.items() for w in (f"--{n.replace('_', '-')}", str(v))]
        arguments = [w for n, v in self.arguments.items() for w in ("--arg", f"{n}={v}")]
        return ["rnn-parity", "check", *given, *arguments]

    def has(self, options: Mapping[str, Value]) -> bool:
        """Whether it has all of these values; of options that its layer lacks, it has none."""
        own = dict(self.values)
        return all(name in own and own[name] == value for name, value in options.items())
