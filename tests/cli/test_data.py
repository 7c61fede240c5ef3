"""What a model is given: inputs and masks by name, integers as they are, consecutive calls."""

import json
from itertools import pairwise

import numpy as np
import pytest
from fake_check import command as run
from fake_check import refused

from rnn_parity.cases.case import read_case

RNG = np.random.default_rng(61)
B, T, F, H = 4, 6, 3, 2
X = RNG.normal(size=(B, T, F)).astype(np.float32)
TOKENS = RNG.integers(0, 7, (B, 9))
MASK = RNG.random((B, T)) < 0.6
MASK[:, 0] = True
TABLE = RNG.normal(size=(7, 4)).astype(np.float32)
KERNEL, RECURRENT, BIAS = (RNG.normal(0, 0.7, s).astype("f") for s in ((F, H), (H, H), (H,)))
SIGNATURE = "x (None, None, 3) float32, tokens (None, None) int32"

PORT = """
import numpy as np
kernel, recurrent, bias = (np.array(w, "float32") for w in ({kernel}, {recurrent}, {bias}))
def port(x):
    h, outputs = np.zeros((len(x), {units}), "float32"), []
    for t in range(x.shape[1]):
        h = np.tanh(x[:, t] @ kernel + h @ recurrent + bias)
        outputs.append(h)
    return np.stack(outputs, 1)
"""
"""A SimpleRNN by hand that knows neither masks nor states of a call before."""


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """Files as a person has them: models, arrays, and a port of one of the layers."""
    keras = pytest.importorskip("tensorflow").keras
    layers, folder = keras.layers, tmp_path_factory.mktemp("data")
    x = keras.Input((None, F), name="x")
    tokens = keras.Input((None,), name="tokens", dtype="int32")
    embedded = layers.Embedding(7, 4, name="table")
    ends = [layers.SimpleRNN(H, name="a")(x), layers.GRU(H, name="b")(embedded(tokens))]
    two = keras.Model([x, tokens], ends)
    embedded.set_weights([TABLE])
    two.save(folder / "two.keras")
    keras.Model({"x": x, "tokens": tokens}, ends).save(folder / "by_name.keras")
    for name, options in {
        "stateful": {"batch_shape": (B, T, F), "stateful": True},
        "plain": {"shape": (None, F)},
    }.items():
        state = options.pop("stateful", False)
        rnn = layers.SimpleRNN(H, return_sequences=True, stateful=state, name="rnn")
        net = keras.Sequential([keras.Input(**options), rnn])
        net.set_weights([KERNEL, RECURRENT, BIAS])
        if state:
            net(X)  # whatever ran before the model was saved is not the first call
        net.save(folder / f"{name}.keras")
    np.save(folder / "x.npy", X)
    np.save(folder / "tokens.npy", TOKENS)
    np.save(folder / "mask.npy", MASK)
    np.savez(folder / "both.npz", x=X, tokens=TOKENS)
    weights = {"kernel": KERNEL, "recurrent": RECURRENT, "bias": BIAS}
    text = {name: array.tolist() for name, array in weights.items()}
    (folder / "port_of_rnn.py").write_text(PORT.format(units=H, **text))
    return folder


@pytest.fixture(autouse=True)
def _there(here, monkeypatch):
    monkeypatch.chdir(here)


def checks(capsys, line: str, code: int) -> list[dict]:
    assert run(f"check --format json {line}") == code
    return json.loads(capsys.readouterr().out)["checks"]


@pytest.mark.parametrize("model", ["two.keras", "by_name.keras"])
@pytest.mark.parametrize("given", ["--input both.npz", "--input x=x.npy --input tokens=tokens.npy"])
def test_inputs_by_name_reach_their_layers(model, given, tmp_path):
    assert run(f"record {model} {given} -q -o {tmp_path}/c.npz") == 0
    assert np.array_equal(read_case(tmp_path / "c-a.npz").inputs, X)
    assert np.array_equal(read_case(tmp_path / "c-b.npz").inputs, TABLE[TOKENS])


def test_what_is_not_given_is_made_up_and_named(tmp_path, capsys):
    assert run(f"record two.keras --input tokens=tokens.npy --format json -o {tmp_path}/c.npz") == 0
    assert "two.keras: not given, and random: x" in json.loads(capsys.readouterr().out)["notes"]
    assert read_case(tmp_path / "c-a.npz").inputs.shape == (B, 9, F)
    assert np.array_equal(read_case(tmp_path / "c-b.npz").inputs, TABLE[TOKENS])


@pytest.mark.parametrize(
    ("given", "said"),
    {
        "--input x.npy": (
            f"--input: the model takes 2 inputs, {SIGNATURE}; say which one it is for: --input "
            "x=FILE"
        ),
        "--input x.npy --input tokens.npy": (
            "--input 'x.npy': expected NAME=FILE, since 2 are given; say which input of the model "
            "it is for"
        ),
        "--input both.npz --input x=x.npy": "--input: expected one array for 'x', received two",
        "--input x=x.npy --input x=x.npy": "--input: expected one array for 'x', received two",
        "--input x=both.npz": (
            "--input x=both.npz: a .npz holds arrays by name; leave out x= or name a .npy file"
        ),
        "--input z=x.npy": (
            f"--input: expected names of the model's inputs, {SIGNATURE}; received 'z'"
        ),
        "--input x=tokens.npy": (
            "--input: expected shape (None, None, 3) for the input 'x' (None is any size), "
            "received (4, 9)"
        ),
        "--input both.npz --mask-file mask.npy": (
            f"--mask-file: the model takes 2 inputs, {SIGNATURE}; say which one it is for: "
            "--mask-file x=FILE"
        ),
        "--input both.npz --mask-file tokens=mask.npy": (
            "--mask-file: expected shape (4, 9), the batch and timesteps of the input 'tokens', "
            "received (4, 6)"
        ),
    }.items(),
)
def test_what_does_not_fit_is_refused(given, said, capsys):
    assert refused(capsys, f"check two.keras {given}") == f"rnn-parity: error: {said}\n"


def test_numbers_that_are_no_tokens_are_refused(tmp_path, capsys):
    np.save(tmp_path / "half.npy", TOKENS + 0.5)
    said = refused(capsys, f"check two.keras --input tokens={tmp_path}/half.npy")
    assert "expected whole numbers for the input 'tokens', which is int32" in said
    np.save(tmp_path / "few.npy", TOKENS[:3])
    line = f"check two.keras --input x=x.npy --input tokens={tmp_path}/few.npy"
    assert "the same number of samples in every array, received x 4, tokens 3" in refused(
        capsys, line
    )


def test_a_generated_layer_has_one_input(capsys):
    said = "a generated layer takes one array, received names"
    assert f"--input: {said}: x, tokens" in refused(capsys, "check --input both.npz")
    assert f"--mask-file: {said}: x" in refused(
        capsys, "check --input x.npy --mask-file x=mask.npy"
    )


def test_a_mask_by_name_reaches_its_layer_and_is_told_where_it_does_not(capsys):
    one, two = checks(capsys, "two.keras --input both.npz --mask-file x=mask.npy", 0)
    masked = {check["subject"]["layer_name"]: check for check in (one, two)}
    blind = {
        name: [spot["fault"] for spot in check["sensitivity"]["blind"]]
        for name, check in masked.items()
    }
    assert "mask-ignored" not in blind["a"]
    assert "mask-ignored" in blind["b"]
    (note,) = masked["b"]["notes"]
    assert note.startswith("the mask of the model does not reach it: no mask does")


def test_a_mask_settles_the_sizes(tmp_path):
    assert run(f"record plain.keras --mask-file mask.npy -q -o {tmp_path}/c.npz") == 0
    case = read_case(tmp_path / "c.npz")
    assert np.array_equal(case.mask, MASK)
    assert case.inputs.shape == (B, T, F)


def test_a_port_that_ignores_the_mask_is_found(capsys):
    line = "plain.keras --input x.npy --against port_of_rnn:port"
    (check,) = checks(capsys, line, 0)
    assert check["verdict"] == "parity"
    (check,) = checks(capsys, f"{line} --mask-file mask.npy", 1)
    assert "mask-ignored" in [cause["fault"] for cause in check["causes"]]


def test_calls_follow_each_other(tmp_path):
    assert run(f"record stateful.keras --calls 3 -q -o {tmp_path}/c.npz") == 0
    cases = [read_case(tmp_path / f"c-call{i}.npz") for i in range(3)]
    assert not np.any(cases[0].initial_state)
    for before, after in pairwise(cases):
        assert np.array_equal(after.initial_state[0], before.outputs[:, -1])
        assert not np.array_equal(after.inputs, before.inputs)


def test_given_inputs_are_those_of_every_call(tmp_path):
    assert run(f"record stateful.keras --input x.npy --calls 2 -q -o {tmp_path}/c.npz") == 0
    one, two = (read_case(tmp_path / f"c-call{i}.npz") for i in range(2))
    assert np.array_equal(one.inputs, X)
    assert np.array_equal(two.inputs, X)
    assert not np.allclose(one.outputs, two.outputs)


def test_calls_of_a_model_without_states_do_not_follow_each_other(capsys):
    found = checks(capsys, "plain.keras --calls 2 --batch 2 --timesteps 3 --mode all", 0)
    assert [check["subject"]["call"] for check in found] == [0, 1] * 4


def test_a_port_that_forgets_the_state_is_found(capsys):
    first, second = checks(capsys, "stateful.keras --calls 2 --against port_of_rnn:port", 1)
    assert (first["verdict"], second["verdict"]) == ("parity", "diverged")
    assert {"initial-state-ignored", "state-not-carried"} & {
        cause["fault"] for cause in second["causes"]
    }


def test_sizes_that_the_file_settles(capsys):
    assert "--batch: expected 4, which the model sets for its input" in refused(
        capsys, "check stateful.keras --batch 5"
    )
    assert "--timesteps: the model sets its sizes" in refused(
        capsys, "check stateful.keras --timesteps 7"
    )
    assert run("check stateful.keras --batch 4 --timesteps 6 -q") == 0
