"""What real exporters write: Keras's own, through tf2onnx, and PyTorch's."""

import contextlib
import io
import warnings

import numpy as np
import onnx_models  # noqa: F401  # which skips these tests without ONNX
import pytest

import rnn_parity as rp
from rnn_parity.api.functions import check_onnx
from rnn_parity.recurrence.cells import GRU, LSTM, SimpleRNN

B, T, F, H = 3, 5, 4, 6
rng = np.random.default_rng(0)
X = rng.normal(size=(B, T, F)).astype(np.float32)
STATES = rng.uniform(-1, 1, (2, B, H)).astype(np.float32)


def silently(job, *arguments, **options):
    """Exporters print what they think of."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        return job(*arguments, **options)


@pytest.fixture(scope="module")
def keras():
    pytest.importorskip("tf2onnx")
    found = pytest.importorskip("tensorflow").keras
    if not hasattr(found.Model, "export") or not hasattr(found, "version"):
        pytest.skip("this Keras has no export to ONNX")
    return found


def export(keras, path, name, count, **options):
    """A layer whose model, with `count` initial states as inputs, was written to `path`."""
    keras.utils.set_random_seed(3)
    options = {"bias_initializer": "random_normal", "return_state": True, **options}
    layer = getattr(keras.layers, name)(H, **options)
    x, *states = [keras.Input((T, F)), *(keras.Input((H,)) for _ in range(count))]
    if states:
        model = keras.Model([x, *states], layer(x, initial_state=states))
    else:
        model = keras.Model(x, layer(x))
    model([X, *STATES[:count]] if states else X)  # only what was called can be exported
    silently(model.export, path, format="onnx", verbose=False)
    return layer


@pytest.mark.parametrize("options", [{}, {"go_backwards": True}], ids=["forward", "backward"])
@pytest.mark.parametrize(("name", "count"), [("SimpleRNN", 1), ("LSTM", 2), ("GRU", 1)])
def test_what_keras_exports(keras, path, name, count, options):
    layer = export(keras, path, name, count, return_sequences=True, **options)
    state = list(STATES) if count == 2 else STATES[0]
    report = rp.check(layer, X, initial_state=state, against=path)
    assert report.verdict == "parity", report
    assert len(report.checks[0].timesteps) == T
    assert len(report.checks[0].final_state) == count
    weights = [w * 1.01 for w in layer.get_weights()]
    layer.set_weights(weights)
    assert rp.check(layer, X, initial_state=state, against=path).verdict == "diverged"


def test_a_gru_that_resets_before(keras, path):
    layer = export(keras, path, "GRU", 0, return_sequences=True, reset_after=False)
    assert rp.check(layer, X, against=path).verdict == "parity"


def test_the_last_output_alone(keras, path):
    layer = export(keras, path, "LSTM", 0, return_state=False)
    report = rp.check(layer, X, against=path)
    assert report.verdict == "parity", report
    assert "return_sequences=True" in report.checks[0].notes[-1]


def test_the_lstm_that_keras_exports_is_checked_without_keras(keras, path):
    export(keras, path, "LSTM", 0, return_sequences=True)
    (check,) = check_onnx(path).checks
    assert (check.verdict, check.subject.layer_class) == ("parity", "LSTM")


def of_torch(module):
    """The first layer of a PyTorch module, gates and biases in Keras's order."""
    w, r, b, c = (
        getattr(module, f"{name}_l0").detach().numpy()
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    kind = type(module).__name__
    if kind == "RNN":
        return SimpleRNN(w.T, r.T, b + c)
    if kind == "LSTM":  # i, f, c, o
        return LSTM(w.T, r.T, b + c)
    order = np.concatenate([np.arange(H, 2 * H), np.arange(H), np.arange(2 * H, 3 * H)])
    return GRU(w[order].T, r[order].T, np.stack([b[order], c[order]]))  # PyTorch: r, z, n


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_what_pytorch_exports(path, name, batch_first):
    torch = pytest.importorskip("torch")
    torch.manual_seed(1)
    module = getattr(torch.nn, name)(F, H, batch_first=batch_first).eval()
    x = torch.from_numpy(X if batch_first else X.swapaxes(0, 1).copy())
    silently(torch.onnx.export, module, (x,), path, dynamo=False, input_names=["x"])
    report = rp.check(of_torch(module), X, against=path)
    assert report.verdict == "parity", report
    assert len(report.checks[0].final_state) == (2 if name == "LSTM" else 1)


@pytest.mark.parametrize("name", ["LSTM", "GRU"])
def test_what_pytorch_exports_is_checked_by_itself(path, name):
    torch = pytest.importorskip("torch")
    torch.manual_seed(1)
    module = getattr(torch.nn, name)(F, H, num_layers=2, bidirectional=True).eval()
    x = torch.from_numpy(X)
    silently(torch.onnx.export, module, (x,), path, dynamo=False, dynamic_axes={"x": {0: "t"}})
    report = check_onnx(path, timesteps=9)
    assert [check.verdict for check in report.checks] == ["parity"] * 4
    names = [check.subject.layer_name for check in report.checks]
    assert [name.rpartition("/")[2] for name in names] == ["forward", "backward"] * 2


@pytest.mark.parametrize(("sign", "name"), [(1, "LSTM"), (-1, "GRU")])
def test_the_branches_that_pytorch_exports(path, sign, name):
    torch = pytest.importorskip("torch")

    class Either(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a = torch.nn.LSTM(F, H, batch_first=True)
            self.b = torch.nn.GRU(F, H, batch_first=True)

        def forward(self, x):
            if x.sum() > 0:
                y, _ = self.a(x)
            else:
                y, _ = self.b(x)
            return y

    torch.manual_seed(1)
    module = torch.jit.script(Either().eval())
    silently(torch.onnx.export, module, (torch.from_numpy(X),), path, dynamo=False)
    report = check_onnx(path, sign * np.abs(X))
    assert [(c.verdict, c.subject.layer_class) for c in report.checks] == [("parity", name)]


def test_lengths_that_pytorch_exports(path):
    torch = pytest.importorskip("torch")

    class Packed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a = torch.nn.GRU(F, H, batch_first=True, bidirectional=True)

        def forward(self, x, n):
            packed = torch.nn.utils.rnn.pack_padded_sequence(x, n, batch_first=True)
            y, _ = torch.nn.utils.rnn.pad_packed_sequence(self.a(packed)[0], batch_first=True)
            return y

    given = (torch.from_numpy(X), torch.tensor([T, 3, 1]))
    silently(torch.onnx.export, Packed().eval(), given, path, dynamo=False)
    report = check_onnx(path)  # the lengths are made up, and at most T
    assert [check.verdict for check in report.checks] == ["parity"] * 2
    assert "mask-ignored" in report.checks[0].sensitivity.visible
