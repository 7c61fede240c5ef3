"""What a formula may do, and what is refused by name when its class is made."""

import math
import pickle
from typing import ClassVar

import numpy as np
import pytest

import rnn_parity as rp
from rnn_parity.errors import InputError
from rnn_parity.recurrence.cells import Cell, PeepholeLSTM, SimpleRNN
from rnn_parity.recurrence.formula import Facts, split

pytestmark = pytest.mark.filterwarnings("error")
TABLE, LISTED = np.ones(3), [1.0, 2.0]


def described(formula, gates=2, states=("h",), **more):
    """The class of a cell with this formula."""
    own = {"GATES": tuple("zrhg"[:gates]), "STATES": states, "formula": staticmethod(formula)}
    return type("Mine", (Cell,), {**own, **more})


def sums(x, h, U, W, b):
    return split(x @ U + h @ W + b, 2)


REFUSED = {
    "uses numpy.tanh": lambda x, h, U, W, b: np.tanh(sums(x, h, U, W, b)[0]),
    "uses numpy.where": lambda x, h, U, W, b: np.where(True, h, h),
    "uses numpy.multiply": lambda x, h, U, W, b: TABLE * h,
    "combines a number with ndarray": lambda x, h, U, W, b: h * TABLE,
    "combines a number with list": lambda x, h, U, W, b: h + LISTED,
    "hands a letter to a function that wants an array": lambda x, h, U: np.asarray(h),
    r"takes a number out of an array \(`float`": lambda x, h, U: h * float(h),
    "takes a number out of an array": lambda x, h, U: math.tanh(h),
    "uses int": lambda x, h, U: int(h) * h,
    "decides by a number": lambda x, h, U: h if h else -h,
    "uses <;": lambda x, h, U: max(h, 0.5),
    "uses >;": lambda x, h, U: min(h, 0.5),
    "uses <=": lambda x, h, U: h if h <= 0.5 else -h,
    "uses >=": lambda x, h, U: h if h >= 0.5 else -h,
    "uses ==": lambda x, h, U: h if h == 0 else -h,
    "uses !=": lambda x, h, U: h if h != 0 else -h,
    "uses /;": lambda x, h, U: h / 2,
    "uses / ?;": lambda x, h, U: 2 / h,
    "uses //": lambda x, h, U: h // 2,
    "uses %": lambda x, h, U: h % 2,
    r"uses \*\*": lambda x, h, U: h**2,
    r"uses \*\*;": lambda x, h, U: 2**h,
    "uses abs": lambda x, h, U: abs(h),
    "uses ~": lambda x, h, U: ~h,
    "uses round": lambda x, h, U: round(h),
    "uses .mean": lambda x, h, U: h.mean(),
    "uses .T": lambda x, h, U, W: h @ W.T,
    "goes through a number element by element": lambda x, h, U: sum(h),
    "takes the element 0 of a number": lambda x, h, U: h[0],
    r"takes the element slice\(None, 1, None\)": lambda x, h, U: (x @ U)[:1],
    r"takes the element \(Ellipsis, slice": lambda x, h, U: (x @ U)[..., :1],
    "splits what is 2 gates wide into 3 parts": lambda x, h, U: split(x @ U, 3)[0],
    "splits what is 2 gates wide into 4 parts": lambda x, h, U: split(x @ U, 4)[0],
    "splits what is 0 gates wide into 2 parts": lambda x, h, U: split(x, 2)[0] @ U,
    "combines numbers of 2 and of 1 gates": lambda x, h, U: x @ U + h,
    r"uses - or \* on 2 gates at once": lambda x, h, U: split(0.5 * (x @ U), 2)[0],
    "on 2 gates at once; split": lambda x, h, U: split(-(x @ U), 2)[0],
    "applies an activation to 2 gates at once": lambda x, h, U, s: split(s(x @ U), 2)[0],
    "applies an activation to something else": lambda x, h, U, W, s: s(W),
    "applies an activation to something else than": lambda x, h, U, s: s(x) @ U,
    "uses the inputs x outside of x @ U": lambda x, h, U: (2 * x) @ U,
    "uses the inputs x outside": lambda x, h, U: (x * x) @ U,
    "uses the matrix W otherwise": lambda x, h, U, W: h * split(W, 2)[0],
    "uses the matrix W": lambda x, h, U, W: (h @ (2 * W),),
    "uses the matrix U otherwise": lambda x, h, U, W: h + split(U, 2)[0],
    "uses the matrix W otherwise than on the right of @": lambda x, h, U, W: split(W @ h, 2)[0],
    "multiplies U by something else than the inputs x": lambda x, h, U: split(h @ U, 2)[0],
    "multiplies W by something else than a state": lambda x, h, W: split(x @ W, 2)[0],
    "or a number of one gate": lambda x, h, U, W: split((x @ U) @ W, 2)[0],
    "multiplies with @ by what is none of its matrices: ndarray": lambda x, h, U: h @ TABLE,
    "none of its matrices: Symbol": lambda x, h, U: h @ h,
    "uses the bias b otherwise than as an addend": lambda x, h, U, b: split(x @ U - b, 2)[0],
    "uses the bias b otherwise": lambda x, h, U, b: split(x @ U + 2 * b, 2)[0],
    "uses the bias b": lambda x, h, U, b: split(x @ U + -b, 2)[0],
    "adds the bias to something else than a number": lambda x, h, U, b: b + b,
    "combines numbers of 1 and of 2 gates": lambda x, h, U, b: h + b,
    "takes the element -1 of the bias": lambda x, h, U, b: split(x @ U + b[-1], 2)[0],
    "takes the element 0 of the bias": lambda x, h, U, b: split(x @ U + b[1][0], 2)[0],
    "the bias b as a whole in one place": lambda x, h, U, b: split(x @ U + b + b[0], 2)[0],
    "expected letters out of .*, received w, y": lambda x, h, U, w, y: h,
    "expected plain arguments": lambda x, h, *rest: h,
    "expected x @ U in it": lambda x, h, U: h,
    "it fails: 'SymbolicInputs' object is not callable": lambda x, h, U: x(x @ U),
    "a constant that is not finite": lambda x, h, U: split(x @ U, 2)[0] * float("nan"),
    "or beyond the range of float32": lambda x, h, U: split(x @ U, 2)[0] * 10**400,
    "expected its arguments to begin with x, h$": lambda h, x, U: h,
    "expected its arguments to begin with x, h": lambda x, U, h: h,
    "to return h .*received 3 results": lambda x, h, U: (h, h, h),
    "received 0 results": lambda x, h, U: (),
    "of one gate's width each": lambda x, h, U: x @ U,
    "of one gate's width each; received": lambda x, h, U: 0.5,
    "it to return h": lambda x, h, U: split(U, 2)[0],
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_a_formula_may_not_do_is_refused_by_name(message):
    with pytest.raises(InputError, match=f"^Mine: formula: .*{message}"):
        described(REFUSED[message])


def in_place(x, h, U):
    h *= 0.5
    return h


def iterated(x, h, U):
    first, _ = x @ U
    return first


@pytest.mark.parametrize(
    ("formula", "message"), [(in_place, r"uses \*="), (iterated, "is a `split` missing")]
)
def test_so_are_statements(formula, message):
    with pytest.raises(InputError, match=message):
        described(formula)


def test_the_message_says_what_is_allowed():
    with pytest.raises(InputError, match=r"; it may use .* @ with the matrices, split, and"):
        described(lambda x, h, U: h / 2)


def test_a_class_without_gates_or_formula_is_refused():
    with pytest.raises(InputError, match="Mine: expected GATES; see"):
        type("Mine", (Cell,), {"formula": staticmethod(lambda x, h: h)})
    with pytest.raises(InputError, match="Mine: expected formula; see"):
        type("Mine", (Cell,), {"GATES": ("h",)})


@pytest.mark.parametrize(
    ("description", "said"),
    [
        ({"GATES": 2}, "GATES: expected a tuple of different names, received 2"),
        ({"GATES": ("f", "f")}, "GATES: expected a tuple of different names"),
        ({"STATES": ("h", "b")}, "STATES: b is the letter of something else"),
        ({"VECTORS": ["p"]}, "VECTORS: expected a dict"),
        ({"VECTORS": {"p": "peephole"}}, r"VECTORS\['p'\]: expected a name and a number of gates"),
        ({"VECTORS": {"p": ("peephole", 0)}}, "a name of its own and at least one gate"),
        ({"VECTORS": {"p": ("units", 1)}}, "a name of its own"),
        ({"VECTORS": {"a": ("peephole", 1)}}, "a letter and a name of its own"),
        ({"VECTORS": {"q": ("peephole", 1)}}, "the formula does not use it"),
        ({"VECTORS": {"p": ("same", 1), "q": ("same", 1)}}, "expected different names"),
        ({"formula": max}, "formula: expected a function"),
        ({"formula": None}, "formula: expected a function"),
    ],
)
def test_what_a_description_may_not_say_is_refused_by_name(description, said):
    def formula(x, h, U, W, b, a, p):
        return a(x @ U + h @ W + b + p)

    def of_two(x, h, U, W, b, a, p, q):
        return a(x @ U + h @ W + b + p + q)

    two = len(description.get("VECTORS", ())) > 1
    whole = {"GATES": ("h",), "VECTORS": {"p": ("peephole", 1)}}
    whole["formula"] = of_two if two else formula
    with pytest.raises(InputError, match=f"^Mine: .*{said}"):
        type("Mine", (Cell,), whole | description)


def test_what_a_layer_is_not_told_is_no_zeros():
    """A vector that is left out, and what the formula does not use, are refused."""

    class Mine(Cell):
        GATES = "h"
        VECTORS: ClassVar = {"p": ("peephole", 1)}

        @staticmethod
        def formula(x, h, U, b, p):
            return x @ U + b + p * h

    kernel = np.ones((2, 3))
    with pytest.raises(InputError, match=r"peephole: expected a vector of shape \(3,\), or None"):
        Mine(kernel, None)
    with pytest.raises(InputError, match="activation: the formula applies none; leave it out"):
        Mine(kernel, None, peephole=None, activation="relu")
    layer = Mine(kernel, None, peephole=[1, 2, 3])
    assert not layer.recurrent_kernel.any()
    assert repr(layer) == "<Mine: features=2, units=3, linear, float64>"
    assert repr(pickle.loads(pickle.dumps(SimpleRNN(kernel, np.ones((3, 3)))))) == (
        "<SimpleRNN: features=2, units=3, tanh, float64>"
    )


def test_what_a_formula_may_do():
    """All that is allowed, and what is noted of it."""

    def formula(x, h, c, U, W, b, p, a, s, v):
        x_z, x_r, x_g = split(x @ U + b[0] + p, 3)
        W_z, _, W_g = split(W, 3)
        b_z, _, b_g = split(b[1], 3)
        z = s(b_z + x_z + h @ W_z)
        c = (1 - z) * c + z * a(x_g - (s(x_r) * h) @ W_g + b_g + 0.5)
        return -v(c), 2 * c - z, c

    mine = described(formula, 3, ("h", "c"), VECTORS={"p": ("push", 3)})
    assert mine.OPTIONS == ("activation", "recurrent_activation", "output_activation")
    layer = mine(np.ones((2, 3)), np.ones((1, 3)), np.ones((2, 3)), "relu", push=[1, 2, 3])
    assert layer.facts == Facts(((0, 3),), ((0, 1), (2, 3)), 2, True, ("a", "s", "v"))
    names = {letter: activation.name for letter, activation in layer.letters.items()}
    assert names == {"a": "relu", "s": "sigmoid", "v": "relu"}
    assert layer.vectors["p"].tolist() == [1, 2, 3]
    assert layer.hidden == ("h", "c")
    silent = mine(np.ones((2, 3)), np.ones((1, 3)), output_activation="linear", push=None)
    assert (silent.activation.name, silent.letters["v"].name) == ("tanh", "linear")
    assert silent.vectors["p"].tolist() == [0, 0, 0]


def test_the_facts_of_the_cells():
    whole = ((0, 4),)
    lstm = rp.LSTM(np.ones((1, 4)), np.ones((1, 4)))
    assert lstm.facts == Facts(whole, whole, 0, False, ("a", "s"))
    assert lstm.hidden == ("c",)
    before = rp.GRU(np.ones((1, 3)), np.ones((1, 3)), reset_after=False)
    assert before.facts.recurrent_parts == ((0, 1), (1, 2), (2, 3))
    assert rp.GRU(np.ones((1, 3)), np.ones((1, 3))).facts.bias_rows == 2
    assert PeepholeLSTM.OPTIONS == ("activation", "recurrent_activation", "output_activation")
    assert rp.SimpleRNN([[1.0]], [[1.0]]).activations[0].name == "tanh"


def test_a_plain_function_serves_as_a_static_method():
    class Mine(Cell):
        GATES = ("h",)

        def formula(x, h, U, W, a):  # noqa: N805
            return a(x @ U + h @ W)

    layer = Mine([[2.0]], [[0.5]], activation="linear")
    assert rp.replay(layer, [[[1.0], [1.0]]]).outputs.tolist() == [[[2.0], [3.0]]]


def test_what_a_formula_does_not_take_is_refused():
    mine = described(lambda x, h, U: sum(split(x @ U, 2), 0) + h)
    kernel, recurrent = np.ones((1, 2)), np.ones((1, 2))
    with pytest.raises(InputError, match="bias: expected None, for the formula has no b"):
        mine(kernel, recurrent, [1.0, 1.0])
    with pytest.raises(InputError, match="Mine: unknown option 'peephole'"):
        mine(kernel, recurrent, peephole=[1.0])
    with pytest.raises(AttributeError):
        mine(kernel, recurrent).recurrent_activation  # noqa: B018
    with pytest.raises(InputError, match=r"peephole: expected shape \(3,\), received \(4,\)"):
        PeepholeLSTM(np.ones((1, 4)), np.ones((1, 4)), peephole=np.ones(4))
