"""How a cell's formula is read: its letters, and what it may do with the numbers they stand for.

A formula is a function of letters: `x`, the inputs of a timestep; its states, `h` among them; `U`,
`W` and `b`, the kernel, the recurrent kernel and the bias; `a` and `s`, the activation and the
recurrent activation; and the cell's vectors. It may add, subtract and multiply, multiply by the
matrices with `@`, `split` into gates and apply the activations, so that it can be evaluated on
plain arrays (the replay), on balls (the bound) and on first-order numbers (what weights imply).
Whatever else it does is refused by name, when the cell is described.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NoReturn

from rnn_parity.errors import InputError, one_line

Formula = Callable[..., Any]

INPUTS, KERNEL, RECURRENT_KERNEL, BIAS = "x", "U", "W", "b"
ACTIVATIONS = {"a": "activation", "s": "recurrent_activation", "v": "output_activation"}
"""The letters of activations, with the names of the options that set them."""
LARGEST = 2.0**127
"""A constant beyond this is infinite in float32."""
ALLOWED = "it may use +, -, *, @ with the matrices, split, and the activations that are its letters"


def split(z: Any, parts: int) -> list[Any]:
    """The parts of the last axis, one for each gate: of a number, a matrix or a bias."""
    if isinstance(z, Symbolic):
        return z.split(parts)
    if parts == 1:
        return [z]
    size = z.shape[-1] // parts
    return [z[..., g * size : (g + 1) * size] for g in range(parts)]


class Lettered:
    """What a letter stands for outside of plain arrays; everything not allowed is refused by name.

    Subclasses define the operations that their number system has.
    """

    __array_ufunc__: Any = None
    """An array leaves operations with this to this."""

    def __bool__(self) -> bool:
        refuse("decides by a number (`if`, `and`, `or`, `while`)")

    def __float__(self) -> float:
        refuse("takes a number out of an array (`float`, `math`)")

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        refuse("hands a letter to a function that wants an array")

    def __iter__(self) -> NoReturn:
        refuse("goes through a number element by element (is a `split` missing?)")


class Matrix(Lettered):
    """The kernel or the recurrent kernel, or some of its columns: `z @ matrix` is a `product`."""

    def __init__(self, product: Callable[[Any, slice], Any], columns: slice) -> None:
        self.product, self.columns = product, columns

    @property
    def shape(self) -> tuple[int]:
        """How many columns there are."""
        return (self.columns.stop - self.columns.start,)

    def __getitem__(self, part: Any) -> Matrix:
        start, stop, _ = part[-1].indices(self.shape[0])
        first = self.columns.start
        return Matrix(self.product, slice(first + start, first + stop))

    def __rmatmul__(self, z: Any) -> Any:
        return self.product(z, self.columns)


class Bias(Lettered):
    """The bias, one of its rows, or some columns: `array` is None for a layer without one.

    `addends` are what an implementation adds in its place, one after the other; `whole` is the
    layer's own bias.
    """

    def __init__(
        self,
        array: Any,
        columns: slice,
        row: int = 0,
        addends: tuple[Any, ...] = (),
        whole: Any = None,
    ) -> None:
        self.array, self.columns, self.row = array, columns, row
        self.addends = addends or (() if array is None else (array,))
        self.whole = array if whole is None else whole

    @property
    def shape(self) -> tuple[int]:
        """How many columns there are."""
        return (self.columns.stop - self.columns.start,)

    @property
    def of_inputs(self) -> bool:
        """Whether it is what is added to `x U`: the bias of one axis, or its first row."""
        return self.row == 0

    def __getitem__(self, part: Any) -> Bias:
        array = None if self.array is None else self.array[part]
        if isinstance(part, int):
            return Bias(array, self.columns, part, whole=self.whole)
        start, stop, _ = part[-1].indices(self.shape[0])
        cut = slice(self.columns.start + start, self.columns.start + stop)
        addends = tuple(addend[part] for addend in self.addends)
        return Bias(array, cut, self.row, addends, self.whole)

    def __radd__(self, z: Any) -> Any:
        return z if self.array is None else z + self.array

    def __add__(self, z: Any) -> Any:
        return z + self


def bound(
    formula: Formula,
    letters: Mapping[str, Any],
) -> Callable[..., tuple[Any, ...]]:
    """The formula with a meaning for its letters: a function of x and the states in their order."""
    given = {name: letters[name] for name in letters_of(formula) if name in letters}

    def step(*numbers: Any) -> tuple[Any, ...]:
        found = formula(*numbers, **given)
        return found if type(found) is tuple else results(found)

    return step


def refuse(what: str) -> NoReturn:
    """Raise `InputError` for what a formula may not do."""
    raise InputError(f"formula: it {what}; {ALLOWED}")


def refused_operator(name: str) -> Callable[..., NoReturn]:
    """An operator that no number system has."""

    def method(self: Any, *others: Any) -> NoReturn:
        refuse(f"uses {name}")

    return method


for _operator, _name in {
    **{"truediv": "/", "floordiv": "//", "mod": "%", "pow": "**", "rtruediv": "/", "rpow": "**"},
    **{"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="},
    **{"and": "&", "or": "|", "xor": "^", "invert": "~", "pos": "+ of one number", "abs": "abs"},
    **{"iadd": "+=", "isub": "-=", "imul": "*=", "imatmul": "@=", "round": "round", "len": "len"},
    **{"int": "int", "index": "a number as an index", "contains": "in"},
}.items():
    setattr(Lettered, f"__{_operator}__", refused_operator(_name))


@dataclass(frozen=True)
class Facts:
    """What a formula does, as reading it once has shown.

    `kernel_parts` and `recurrent_parts` are the parts of the matrices that it multiplies by, as
    gates `(first, last + 1)`; `bias_rows` is how many rows the bias has, 0 for a bias of one axis.
    `own_output` is True where the output is not the first state. `activations` are the letters of
    those that it applies.
    """

    kernel_parts: tuple[tuple[int, int], ...]
    recurrent_parts: tuple[tuple[int, int], ...]
    bias_rows: int
    own_output: bool
    activations: tuple[str, ...]


@dataclass
class Reading:
    """Notes taken while a formula is read: of the bias, which rows were added, -1 for all of it."""

    gates: int
    kernel: set[tuple[int, int]] = field(default_factory=set)
    recurrent: set[tuple[int, int]] = field(default_factory=set)
    bias: set[int] = field(default_factory=set)


class Symbolic(Lettered):
    """What a letter stands for while a formula is read: only its width in `gates` is known.

    Subclasses define what may be done with it; all else is a misuse.
    """

    misuse = ""
    """What an operation that is not allowed does."""

    def __init__(self, reading: Reading, gates: int) -> None:
        self.reading, self.gates = reading, gates

    def __array_ufunc__(self, ufunc: Any, *args: Any, **kwargs: Any) -> NoReturn:
        refuse(f"uses numpy.{ufunc.__name__}")

    def __array_function__(self, function: Any, *args: Any, **kwargs: Any) -> NoReturn:
        refuse(f"uses numpy.{function.__name__}")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        refuse(f"uses .{name}")

    def __getitem__(self, part: Any) -> Any:
        refuse(f"takes the element {part!r} of a number; use split")

    def misused(self, *others: Any) -> Any:
        """Refuses an operation."""
        refuse(self.misuse)

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __neg__ = misused
    __matmul__ = __rmatmul__ = misused

    def split(self, parts: int) -> list[Any]:
        """As many parts of equal width."""
        if not isinstance(parts, int) or parts < 1 or self.gates % parts or not self.gates:
            refuse(f"splits what is {self.gates} gates wide into {parts} parts")
        width = self.gates // parts
        return [self.cut(first, first + width) for first in range(0, self.gates, width)]

    def cut(self, first: int, last: int) -> Any:
        """Some of its gates."""
        return type(self)(self.reading, last - first)


class SymbolicInputs(Symbolic):
    """The inputs x, which may be multiplied by U."""

    misuse = "uses the inputs x outside of x @ U"

    def __matmul__(self, matrix: Any) -> Any:
        return times(self, matrix)


class Symbol(Symbolic):
    """A number, `gates` times the number of units wide."""

    def __add__(self, other: Any) -> Any:
        return other + self if isinstance(other, SymbolicBias) else self.combined(other)

    def combined(self, other: Any) -> Symbol:
        """The sum or product with another number, of the same width."""
        if isinstance(other, Symbolic) and not isinstance(other, Symbol):
            other.misused()
        if not isinstance(other, (Symbol, int, float)):
            refuse(f"combines a number with {type(other).__name__}")
        if not isinstance(other, Symbol) and not abs(other) <= LARGEST:
            refuse("uses a constant that is not finite, or beyond the range of float32")
        if isinstance(other, Symbol) and other.gates != self.gates:
            refuse(f"combines numbers of {self.gates} and of {other.gates} gates")
        return Symbol(self.reading, self.gates)

    def of_one_gate(self, other: Any = 0.0) -> Symbol:
        """The difference or product with another number."""
        result = self.combined(other)
        if self.gates > 1:
            refuse(f"uses - or * on {self.gates} gates at once; split them first")
        return result

    __radd__ = __add__
    __sub__ = __rsub__ = __mul__ = __rmul__ = __neg__ = of_one_gate

    def __matmul__(self, matrix: Any) -> Any:
        return times(self, matrix)

    __rmatmul__ = __matmul__

    def activated(self) -> Symbol:
        """An activation of this number."""
        if self.gates > 1:
            refuse(f"applies an activation to {self.gates} gates at once; split them first")
        return self


class SymbolicMatrix(Symbolic):
    """The kernel or the recurrent kernel, or some gates of it."""

    def __init__(self, reading: Reading, name: str, first: int, last: int) -> None:
        super().__init__(reading, last - first)
        self.name, self.first, self.last = name, first, last
        self.misuse = f"uses the matrix {name} otherwise than on the right of @, or in split"

    def cut(self, first: int, last: int) -> SymbolicMatrix:
        """Some of its gates."""
        return SymbolicMatrix(self.reading, self.name, self.first + first, self.first + last)


def times(a: Symbolic, matrix: Any) -> Symbol:
    """`a` times a matrix."""
    if not isinstance(matrix, SymbolicMatrix):
        refuse(f"multiplies with @ by what is none of its matrices: {type(matrix).__name__}")
    of_inputs = matrix.name == KERNEL
    if isinstance(a, SymbolicInputs) != of_inputs or (a.gates != 1 and not of_inputs):
        expected = "the inputs x" if of_inputs else "a state or a number of one gate"
        refuse(f"multiplies {matrix.name} by something else than {expected}")
    notes = matrix.reading.kernel if of_inputs else matrix.reading.recurrent
    notes.add((matrix.first, matrix.last))
    return Symbol(matrix.reading, matrix.gates)


class SymbolicBias(Symbolic):
    """The bias, which may be added; `b[0]` and `b[1]` are its rows where it has several."""

    misuse = "uses the bias b otherwise than as an addend"

    def __init__(self, reading: Reading, gates: int, row: int | None = None) -> None:
        super().__init__(reading, gates)
        self.row = row

    def __getitem__(self, part: Any) -> SymbolicBias:
        if type(part) is not int or part < 0 or self.row is not None:
            refuse(f"takes the element {part!r} of the bias; its rows are b[0], b[1]")
        return SymbolicBias(self.reading, self.gates, part)

    def cut(self, first: int, last: int) -> SymbolicBias:
        """Some of its gates."""
        return SymbolicBias(self.reading, last - first, self.row)

    def __add__(self, other: Any) -> Any:
        if not isinstance(other, Symbol):
            refuse("adds the bias to something else than a number")
        self.reading.bias.add(-1 if self.row is None else self.row)
        if min(self.reading.bias) < 0 <= max(self.reading.bias):
            refuse("takes the bias b as a whole in one place, and a row of it in another")
        return other.combined(Symbol(self.reading, self.gates))

    __radd__ = __add__


def activated(z: Any) -> Any:
    """What an activation makes of what a formula gives it."""
    if not isinstance(z, Symbol):
        refuse("applies an activation to something else than a number")
    return z.activated()


@cache
def facts(formula: Formula, gates: int, states: tuple[str, ...], vectors: Any = ()) -> Facts:
    """Read a formula: check that it does only what it may, and note what it does.

    `vectors` are pairs of the letter of a vector and how many gates wide it is. Raises `InputError`
    for a letter that nobody knows, and for what is not allowed in a formula.
    """
    names = letters_of(formula)
    known = {INPUTS, KERNEL, RECURRENT_KERNEL, BIAS, *states, *ACTIVATIONS, *dict(vectors)}
    if unknown := [name for name in names if name not in known]:
        raise InputError(
            f"formula: expected letters out of {', '.join(sorted(known))}, received "
            f"{', '.join(unknown)}"
        )
    first = [INPUTS, *states]
    if names[: len(first)] != first:
        raise InputError(f"formula: expected its arguments to begin with {', '.join(first)}")
    reading = Reading(gates)
    values: dict[str, Any] = {
        INPUTS: SymbolicInputs(reading, 0),
        KERNEL: SymbolicMatrix(reading, KERNEL, 0, gates),
        RECURRENT_KERNEL: SymbolicMatrix(reading, RECURRENT_KERNEL, 0, gates),
        BIAS: SymbolicBias(reading, gates),
        **{name: Symbol(reading, 1) for name in states},
        **{name: Symbol(reading, width) for name, width in vectors},
        **dict.fromkeys(ACTIVATIONS, activated),
    }
    try:
        found = results(formula(**{name: values[name] for name in names}))
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"formula: it fails: {one_line(error)}; {ALLOWED}") from None
    own_output = checked_results(found, states)
    if not reading.kernel:
        raise InputError("formula: expected x @ U in it, for otherwise the inputs change nothing")
    return Facts(
        tuple(sorted(reading.kernel)),
        tuple(sorted(reading.recurrent)),
        max(reading.bias, default=-1) + 1,
        own_output,
        tuple(name for name in names if name in ACTIVATIONS),
    )


@cache
def letters_of(formula: Formula) -> list[str]:
    """The names of a formula's arguments; raises `InputError` for what is no such function."""
    try:
        parameters = inspect.signature(formula).parameters
    except (TypeError, ValueError):
        raise InputError(f"formula: expected a function, received {formula!r}") from None
    if any(one.kind is not one.POSITIONAL_OR_KEYWORD for one in parameters.values()):
        raise InputError("formula: expected plain arguments, received *, / or keyword-only ones")
    return list(parameters)


def results(found: Any) -> tuple[Any, ...]:
    """What a formula returned: its output and states."""
    return tuple(found) if isinstance(found, (tuple, list)) else (found,)


def checked_results(found: Sequence[Any], states: tuple[str, ...]) -> bool:
    """Whether a formula returns an output beside its states; `InputError` for anything else."""
    expected = (
        f"formula: expected it to return {', '.join(states)} (the first being the output), or the "
        f"output and then {', '.join(states)}, numbers of one gate's width each; received"
    )
    if len(found) - len(states) not in (0, 1):
        raise InputError(f"{expected} {len(found)} results")
    for one in found:
        if not isinstance(one, Symbol):
            raise InputError(f"{expected} {type(one).__name__} among them")
        if one.gates != 1:
            raise InputError(f"{expected} one of {one.gates} gates")
    return len(found) > len(states)
