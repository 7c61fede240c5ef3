"""The step of a cell to first order in its weights: one equation for every observed output.

To first order, a step residual is `sum over pieces of slope * (design @ change)`, for the pieces of
`stack`. What an LSTM's gates i, f and c change is in its c and stays there: `m_t = f_t m_{t-1} +
...` with `c_t` off by `m_t`. What a GRU's reset gate changes without `reset_after` reaches every
unit through W.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.bounds.cell_state_bound import scan
from rnn_parity.bounds.magnitudes import rows_by
from rnn_parity.recurrence.layers import Array

Columns = tuple[Array, ...]


@dataclass(frozen=True, eq=False)
class Rows:
    """The equations of some timesteps, time first: arrays are `(t, B, ...)`.

    `designs` `(t, B, K)` and `slopes` `(t, B, H)` stand in the order of the pieces; `residual` and
    the `observed` outputs are `(t, B, H)`. The first `carried` pieces go through a memory, see
    `forget` and `gain`; the piece `mixed` reaches the outputs by `mixing` `(H, H)` and `gain`. A
    timestep that is masked or not finite gives equations of zeros.
    """

    designs: Columns
    slopes: Columns
    residual: Array
    observed: Array
    good: NDArray[np.bool_]
    carried: int = 0
    mixed: int | None = None
    mixing: Array | None = None
    forget: Array | None = None
    gain: Array | None = None

    @property
    def count(self) -> int:
        """The number of timesteps, of all samples, that give equations."""
        return int(self.good.sum())

    @property
    def sizes(self) -> list[int]:
        """How many weights of a unit each piece has."""
        return [design.shape[2] for design in self.designs]

    @property
    def biases(self) -> NDArray[np.intp]:
        """The places of the pieces' biases in a column."""
        return np.cumsum(self.sizes) - 1

    @property
    def in_mixed(self) -> NDArray[np.bool_]:
        """Which places of a column, `(P,)`, are in the `mixed` piece."""
        return np.repeat([p == self.mixed for p in range(len(self.designs))], self.sizes)

    def once(self) -> Rows:
        """Without steps that were computed before, from the same input and state: they err alike.

        Where a memory is not observed, no two steps are known to be the same.
        """
        if self.forget is not None:
            return self
        designs = {id(design): design for design in self.designs}
        given = np.concatenate([flattened(a) for a in (*designs.values(), self.observed)], axis=1)
        first = {hash(row.tobytes()): i for i, row in reversed([*enumerate(given)])}
        new = np.isin(np.arange(len(given)), [*first.values()]).reshape(self.good.shape)
        residual, *slopes = (a * new[..., np.newaxis] for a in (self.residual, *self.slopes))
        return replace(self, residual=residual, slopes=tuple(slopes), good=self.good & new)

    def parts(self, columns: Array) -> list[Array]:
        """Columns `(P, H)` piece by piece."""
        return np.split(columns, np.cumsum(self.sizes)[:-1])

    @np.errstate(all="ignore")
    def even(self, weights: Array) -> Rows:
        """The same equations, each over what it rounds: otherwise large numbers alone decide."""
        size = self.size(weights) + np.abs(self.observed)
        good = np.isfinite(size) & (size > 0)

        def over(a: Array) -> Array:
            return np.where(good, a / size, 0.0)

        direct = [p >= self.carried and p != self.mixed for p in range(len(self.slopes))]
        slopes = tuple(over(s) if d else s for s, d in zip(self.slopes, direct, strict=True))
        gain = None if self.gain is None else over(self.gain)
        return replace(self, residual=over(self.residual), slopes=slopes, gain=gain)

    def size(self, weights: Array) -> Array:
        """The absolute terms of each step, times the slopes: what its rounding grows with."""
        size: NDArray[Any] = np.zeros_like(self.residual)
        designs = {id(design): np.abs(design).astype(np.float32) for design in self.designs}
        for p, weight in enumerate(self.parts(np.abs(weights))):
            terms = rows_by(designs[id(self.designs[p])], weight.astype(np.float32))
            part: Array = np.abs(self.slopes[p]) * terms.astype(np.float64)
            size += self.reach(p, part, np.abs)
        return size

    def reach(self, p: int, part: Array, sign: Callable[[Any], Any] = np.positive) -> Array:
        """What a change of a piece's argument, times its slope, is in the same step's output."""
        if p == self.mixed:
            part = part @ sign(self.mixing)
        elif p >= self.carried:
            return part
        reached: Array = part * sign(self.gain)
        return reached

    def but_weights(self, change: Array) -> Rows:
        """The same equations, had the weights been others by `change`, to first order."""
        if not change.any():
            return self
        return replace(self, residual=self.residual - self.changed(change))

    def changed(self, change: Array) -> Array:
        """How the outputs would change, `(t, B, H)`, were the weights others by `change`."""
        pairs = zip(self.designs, self.parts(change), strict=True)
        return self.shown([rows_by(d, w) for d, w in pairs])

    def shown(self, changes: Sequence[Array | None]) -> Array:
        """How the outputs change, `(t, B, H)`, when the pieces' arguments change by so much."""
        memory, found = np.zeros_like(self.residual), np.zeros_like(self.residual)
        for p, change in enumerate(changes):
            if change is None:
                continue
            part = self.slopes[p] * change
            if p < self.carried:
                memory += part
            else:
                found += self.reach(p, part)
        if self.forget is not None:
            found += self.gain * scan(self.forget, memory)
        return found

    def weighted(self) -> Columns:
        """Each residual times what its output owes to a piece's argument, `(t, B, H)`."""
        through = self.residual if self.gain is None else self.residual * self.gain
        if self.forget is not None:
            # Backwards in time: what c was off by, all later outputs show.
            fades = np.concatenate([self.forget[1:], np.zeros_like(self.forget[:1])])
            through = scan(fades[::-1], through[::-1])[::-1]
        every = []
        for p, slope in enumerate(self.slopes):
            shown = self.residual if p >= self.carried else through
            if p == self.mixed and self.mixing is not None:
                shown = through @ self.mixing.T
            every.append(shown * slope)
        return tuple(every)

    @property
    def gradient(self) -> Array:
        """How the weights would have to change for smaller residuals, `(P, H)`."""
        pairs = zip(self.designs, self.weighted(), strict=True)
        return np.concatenate([flattened(d).T @ flattened(w) for d, w in pairs])

    @property
    def explained(self) -> Array:
        """How much of the squares of all residuals each weight alone would explain, `(P, H)`.

        Of a memory only what shows in the first step is counted.
        """
        sizes = []
        for p, (design, slope) in enumerate(zip(self.designs, self.slopes, strict=True)):
            shows = slope**2
            if p == self.mixed and self.mixing is not None and self.gain is not None:
                shows = shows * (self.gain**2 @ (self.mixing**2).T)
            elif p < self.carried and self.gain is not None:
                shows = shows * self.gain**2
            sizes.append(flattened(design**2).T @ flattened(shows))
        explained: Array = np.nan_to_num(self.gradient**2 / np.concatenate(sizes), posinf=0.0)
        return explained

    def of_unit(self, j: int, mixed: bool = False) -> tuple[Array, Array]:
        """The equations for unit j's column alone: a matrix `(N, P)` and a right-hand side `(N,)`.

        The `mixed` piece, whose unit j reaches the outputs of all units, is left out; or it is the
        only one, with one equation for all outputs of a timestep.
        """
        columns = [np.zeros((self.good.size, design.shape[2])) for design in self.designs]
        if mixed and self.mixed is not None and self.mixing is not None and self.gain is not None:
            factor = self.slopes[self.mixed][..., [j]] * self.mixing[j] * self.gain
            size = np.sqrt((factor**2).sum(axis=2))
            columns[self.mixed] = flattened(size[..., np.newaxis] * self.designs[self.mixed])
            total = (factor * self.residual).sum(axis=2)
            residual = np.divide(total, size, out=np.zeros_like(size), where=size > 0)
            return np.concatenate(columns, axis=1), residual.ravel()
        for p, (design, slopes) in enumerate(zip(self.designs, self.slopes, strict=True)):
            column = slopes[..., [j]] * design
            if p < self.carried and self.forget is not None and self.gain is not None:
                column = self.gain[..., [j]] * scan(self.forget[..., [j]], column)
            if p != self.mixed:
                columns[p] = flattened(column)
        return np.concatenate(columns, axis=1), self.residual[..., j].ravel()

    def news(self, a: Array, units: slice = slice(None)) -> Array:
        """`a` `(t, B, H)`, on either side of the equations, less what a memory kept of the step
        before: what c was off by it stays off by, so that errors go together in time.
        """
        kept = self.kept
        if kept is None:
            return a
        return np.concatenate([a[:1], a[1:] - kept[..., units] * a[:-1]])

    @property
    def kept(self) -> Array | None:
        """What is left of a residual in the next step's, `(t - 1, B, H)`."""
        if self.forget is None or self.gain is None:
            return None
        left = np.nan_to_num(self.forget[1:] * self.gain[1:] / self.gain[:-1], posinf=0, neginf=0)
        return np.clip(left, -1, 1)

    @property
    def of_news(self) -> Rows:
        """The equations whose `weighted` and `gradient` are those of the news on both sides."""
        kept = self.kept
        if kept is None:
            return self
        residual = self.news(self.residual)
        return replace(
            self, residual=np.concatenate([residual[:-1] - kept * residual[1:], residual[-1:]])
        )


def flattened(a: Array) -> Array:
    """`(t, B, K)` as `(t B, K)`."""
    return a.reshape(-1, a.shape[-1])


def joined(rows: list[Rows]) -> Rows:
    """The equations of timesteps that follow each other."""
    joined: dict[str, Any] = {}
    for name in ("residual", "observed", "good", "forget", "gain"):
        arrays = [getattr(r, name) for r in rows]
        joined[name] = None if arrays[0] is None else np.concatenate(arrays)
    slopes = zip(*(r.slopes for r in rows), strict=True)
    joined["slopes"] = tuple(np.concatenate(arrays) for arrays in slopes)
    # Most pieces have the same design: one copy does.
    designs: dict[int, Array] = {}
    for p, first in enumerate(rows[0].designs):
        if id(first) not in designs:
            designs[id(first)] = np.concatenate([r.designs[p] for r in rows])
    joined["designs"] = tuple(designs[id(first)] for first in rows[0].designs)
    return replace(rows[0], **joined)
