"""An implementation that holds more than was compared: no parity unless the part was named."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from hand_case import OUTPUTS, make
from helpers import loop, random_weights

import rnn_parity as rp
from rnn_parity.api.judging import judged
from rnn_parity.cases.case import write_case
from rnn_parity.cli import main as cli
from rnn_parity.errors import InputError
from rnn_parity.implementations import torch_weights
from rnn_parity.implementations.against import call_to_compute
from rnn_parity.implementations.request import Answer
from rnn_parity.implementations.sources import Source
from rnn_parity.implementations.torch_weights import StoredModule, modules_for, named_modules

F, H = 2, 3
X = np.random.default_rng(5).normal(size=(2, 4, F)).astype(np.float32)
WEIGHTS = random_weights(np.random.default_rng(6), F, H)
OTHERS = random_weights(np.random.default_rng(8), F, H)
LAYER = rp.SimpleRNN(**WEIGHTS)


class Tensor:
    """As much of a PyTorch tensor as is asked for, by NumPy."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype.name

    def double(self):
        return Tensor(self.array.astype(np.float64))

    def numpy(self):
        return self.array


def tensors(end="", prefix="", weights=WEIGHTS):
    """The weights of an `nn.RNN` with the second bias zero, or of an `nn.RNNCell`."""
    parts = {
        "weight_ih": weights["kernel"].T,
        "weight_hh": weights["recurrent_kernel"].T,
        "bias_ih": weights["bias"],
        "bias_hh": np.zeros_like(weights["bias"]),
    }
    return {f"{prefix}{name}{end}": Tensor(array) for name, array in parts.items()}


@pytest.fixture
def file_of(monkeypatch):
    """A .safetensors file with these tensors, run by a textbook's loop in place of PyTorch."""

    def run(path, chosen, request):
        outputs = loop(WEIGHTS, request.inputs)
        return outputs, (outputs[:, -1],)

    def made(*parts):
        whole = {name: tensor for part in parts for name, tensor in part.items()}
        monkeypatch.setattr(torch_weights, "read_tensors", lambda path: whole)

    monkeypatch.setattr(torch_weights, "run_module", run)
    return made


def checked(source, layer=LAYER):
    (check,) = rp.check(layer, X, against=source).checks
    return check


@pytest.mark.parametrize(
    ("more", "name"),
    [
        (tensors("_l1", weights=random_weights(np.random.default_rng(7), H, H)), "the layer *_l1"),
        (tensors("_l0_reverse"), "the layer *_l0_reverse"),
        (tensors("_l0", "decoder.", OTHERS), "the layer decoder.*_l0"),
        (tensors(prefix="cell."), "the cell cell"),
    ],
)
def test_further_layers_of_a_state_dict_are_named_and_no_parity(file_of, more, name):
    file_of(tensors("_l0"), more)
    check = checked("w.safetensors")
    assert (check.verdict, check.effective_bits, check.sensitivity) == ("inconclusive", None, None)
    assert check.summary.startswith(
        f"not compared: {name} of w.safetensors; if what was compared is all that is meant, name "
        "it: --against 'w.safetensors#*_l0'; of what was compared, every step is within rounding"
    )
    assert "its weights are the layer's exactly" in check.notes
    assert rp.check(LAYER, X, against="w.safetensors").exit_code == 3
    for part in ("*_l0", "_l0"):
        if "decoder" not in name:
            assert checked(f"w.safetensors#{part}").verdict == "parity"


def test_a_part_may_hold_several_layers_too(file_of):
    file_of(tensors("_l0", "encoder."), tensors("_l0_reverse", "encoder."), tensors("_l0", "a."))
    check = checked("w.safetensors#encoder.")
    assert "not compared: the layer encoder.*_l0_reverse of" in check.summary
    assert checked("w.safetensors#encoder.*_l0").verdict == "parity"
    with pytest.raises(
        InputError, match=r"expected one of encoder.\*_l0, .* after #, received 'z'"
    ):
        checked("w.safetensors#z")


def test_other_tensors_of_a_file_are_a_note(file_of):
    dense = {f"fc{i}.weight": Tensor(np.ones((2, 3))) for i in range(7)}
    file_of(tensors("_l0"), dense)
    check = checked("w.safetensors")
    assert check.verdict == "parity"
    expected = "the file holds other tensors, too: fc0.weight, fc1.weight, fc2.weight, fc3.weight, "
    assert f"{expected}fc4.weight, 2 more" in check.notes


def test_what_diverges_does_so_whatever_else_there_is(file_of):
    file_of(tensors("_l0"), tensors("_l1"))
    wrong = LAYER.changed(bias=LAYER.bias + 1)
    check = checked("w.safetensors#_l0", wrong)
    assert check.verdict == "diverged"
    (check,) = judged(
        [call_to_compute(wrong, X, None, None)], "layer", others=[more_than_asked_for()]
    )
    assert check.verdict == "diverged"
    assert check.notes[-1].startswith("not compared: the layer b of more")


def more_than_asked_for(**more):
    answer = Answer(loop(WEIGHTS, X), left_out=("the layer b",), **more)
    return Source("more", lambda request: answer)


def test_what_cannot_be_named_is_to_be_given_alone():
    (check,) = judged(
        [call_to_compute(LAYER, X, None, None)], "layer", others=[more_than_asked_for()]
    )
    assert check.summary.startswith(
        "not compared: the layer b of more; if what was compared is all that is meant, let it give "
        "that alone; of what was compared, every step"
    )


def test_names_of_parts():
    modules = [
        StoredModule(prefix, end, {})
        for prefix in ("", "encoder.", "encoder2.")
        for end in ("_l0", "_l0_reverse", "_l1")
    ]

    def found(part):
        return [one.name for one in named_modules("w", modules, part)]

    assert found(None) == [one.name for one in modules]
    assert found("encoder.") == ["encoder.*_l0", "encoder.*_l0_reverse", "encoder.*_l1"]
    for part in ("encoder._l1", "encoder.*_l1", "encoder.l1"):
        assert found(part) == ["encoder.*_l1"]
    assert found("l1") == found("_l1") == ["*_l1", "encoder.*_l1", "encoder2.*_l1"]
    assert found("encoder*_l1") == ["encoder.*_l1", "encoder2.*_l1"]
    assert found("_l0_reverse") == [
        "*_l0_reverse",
        "encoder.*_l0_reverse",
        "encoder2.*_l0_reverse",
    ]


def test_several_that_fit_are_asked_about():
    weights = {f"{k}_l0": v for k, v in tensors().items()}
    parts = {name.removesuffix("_l0"): tensor for name, tensor in weights.items()}
    modules = [StoredModule("a.", "_l0", parts), StoredModule("b.", "_l0", parts)]
    with pytest.raises(
        InputError, match=r"received a\.\*_l0, b\.\*_l0; name one of them: w#a\.\*_"
    ):
        modules_for("w", modules, {"": LAYER})


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_case("case.npz", make())
    return tmp_path


def run(capsys, source):
    code = cli.main(["check", "case.npz", "--no-keras", "--format", "json", "--against", source])
    (check,) = json.loads(capsys.readouterr().out)["checks"]
    return code, check["verdict"], check["summary"]


def test_arrays_of_an_archive_on_the_command_line(here, capsys):
    np.savez("y.npz", outputs=OUTPUTS, second=OUTPUTS)
    code, verdict, summary = run(capsys, "y.npz")
    assert (code, verdict) == (3, "inconclusive")
    assert summary.startswith("not compared: second of y.npz; if what was compared is all that is ")
    assert "name it: --against 'y.npz#outputs'" in summary
    assert run(capsys, "y.npz#outputs")[:2] == (0, "parity")
    assert run(capsys, "case.npz")[:2] == (0, "parity")


def test_a_final_state_is_held_as_one_or_refused(here, capsys):
    np.savez("y.npz", outputs=OUTPUTS, final_state_h=OUTPUTS[:, -1] + 1)
    assert run(capsys, "y.npz")[:2] == (1, "diverged")
    np.savez("y.npz", final_state_h=OUTPUTS[:, -1])
    assert cli.main(["check", "case.npz", "--no-keras", "--against", "y.npz"]) == 2
    assert "expected outputs, received final_state_h alone" in capsys.readouterr().err


def test_the_last_output_that_a_case_recorded_is_held_too(here, capsys):
    write_case("other.npz", make(last_output=OUTPUTS[:, -1] + 1))
    assert run(capsys, "other.npz")[:2] == (1, "diverged")
    write_case("other.npz", make(last_output=OUTPUTS[:, -1]))
    assert run(capsys, "other.npz")[:2] == (0, "parity")


def test_what_a_program_writes_beside_its_outputs(here, capsys):
    (here / "port.py").write_text(
        "import sys, numpy as np\n"
        "x, y = np.load(sys.argv[1])[0, :, 0], []\n"
        "for one in x: y.append(2 * one + (y[-1] / 2 if y else 0) + 1)\n"  # as the case has it
        "y = np.float32(y)[None, :, None]\n"
        "np.savez(sys.argv[2], outputs=y, **({'cells': y} if sys.argv[3:] else {}))\n"
    )
    source = f"cmd:{sys.executable} port.py {{input}} {{output}}.npz"
    assert run(capsys, source)[:2] == (0, "parity")
    code, verdict, summary = run(capsys, f"{source} more")
    assert (code, verdict) == (3, "inconclusive")
    assert summary.startswith(f"not compared: cells of {source} more; if what was compared is all ")
    assert "that is meant, let it give that alone; of what was compared, every" in summary


def test_the_answer_is_not_written_over_a_source_with_a_part(here, capsys):
    np.savez("y.npz", outputs=OUTPUTS)
    before = (here / "y.npz").read_bytes()
    line = "check case.npz --no-keras --against y.npz?axes=BTH#outputs -o y.npz"
    assert cli.main(line.split()) == 2
    assert "-o 'y.npz': expected a name that ends in .txt" in capsys.readouterr().err
    assert (here / "y.npz").read_bytes() == before


def test_right_numbers_of_a_part_prove_nothing_of_the_whole():
    seen = replace(
        call_to_compute(LAYER, X, None, None), outputs=loop(WEIGHTS, X), unproven="not compared: b"
    )
    (check,) = judged([seen], "layer")
    assert (check.verdict, check.max_ratio <= 1) == ("inconclusive", True)
