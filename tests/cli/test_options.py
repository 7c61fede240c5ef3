"""The options: every refusal in its own words, on one line, before anything is imported or run."""

import re

import pytest
from fake_check import recorded, refused

from rnn_parity import keras_adapter
from rnn_parity.api import generated as generate
from rnn_parity.cli import main as cli
from rnn_parity.cli import options
from rnn_parity.implementations.sources import KINDS
from rnn_parity.system.choices import WRAPPERS

NUMBER = "expected an integer from 1 to 2147483647, received"
HINT = "; try rnn-parity check --help"
REFUSED = {
    "--bogus": f"unrecognized arguments: --bogus{HINT}",
    "--against x": (
        f"against 'x': expected one of {', '.join(kind.form for kind in KINDS)}; see rnn-parity "
        "check --help"
    ),
    "--unit 3": "unrecognized arguments: --unit; did you mean --units? try rnn-parity check --help",
    "--unit 4 --timestep 3": (
        "unrecognized arguments: --unit --timestep 3; did you mean --units, --timesteps? "
        "try rnn-parity check --help"
    ),
    "-q -v": f"argument -v/--verbose: not allowed with argument -q/--quiet{HINT}",
    "--units 0": f"argument --units: {NUMBER} '0'{HINT}",
    "--batch -3": f"argument --batch: {NUMBER} '-3'{HINT}",
    "--timesteps 1.5": f"argument --timesteps: {NUMBER} '1.5'{HINT}",
    "--features 2147483648": f"argument --features: {NUMBER} '2147483648'{HINT}",
    "--calls x": f"argument --calls: {NUMBER} 'x'{HINT}",
    "--units " + "9" * 5000: f"argument --units: {NUMBER} '{'9' * 40}...'{HINT}",
    "--seed -1": f"argument --seed: expected an integer from 0 to 2147483647, received '-1'{HINT}",
    "--arg relu": f"argument --arg: expected NAME=VALUE, received 'relu'{HINT}",
    "--arg a=": f"argument --arg: expected NAME=VALUE, received 'a='{HINT}",
    "--arg =3": f"argument --arg: expected NAME=VALUE, received '=3'{HINT}",
    "--arg a=[1": (
        f"argument --arg: expected a Python literal or a bare word, received 'a=[1'{HINT}"
    ),
    "--arg a=false": (
        f"argument --arg: expected a=False, with a capital, received 'a=false'{HINT}"
    ),
    "--arg a=1 --arg a=2": "--arg a: expected once, received 2 times",
    "--mask left --mask-file m.npy": (
        f"argument --mask-file: not allowed with argument --mask{HINT}"
    ),
    "--layer-name rnn": "--layer-name: only for a model; add the TARGET or leave this out",
    "--unsafe": "--unsafe: only for a model; add the TARGET or leave this out",
    **{
        f"net.keras {option} {value}": (
            f"{option}: only for a generated layer; leave out this or the TARGET"
        )
        for option, value in {
            **{"--layer": "gru", "--units": "3", "--features": "3"},
            **{"--dtype": "float16", "--mask": "none", "--initial-state": "zeros"},
        }.items()
    },
    "net.keras --arg a=1": (
        "--arg: only for a generated layer or weights alone (.h5); leave out this or the TARGET"
    ),
    "--custom a:B": "--custom: only for a model; add the TARGET or leave this out",
    **{
        f"{target}--input x.npy {option} 3": (
            f"{option}: settled by --input; leave out one of the two"
        )
        for target, option in [
            *(("", "--batch"), ("", "--timesteps"), ("", "--features")),
            *(("net.h5 ", "--batch"), ("net.h5 ", "--timesteps"), ("net.h5 ", "--seed")),
        ]
    },
    "net.h5 --input x.npy --seed 0": "--seed: settled by --input; leave out one of the two",
    "-q --format json": "-q: not possible with --format json; leave it out",
    "-q --format github": "-q: not possible with --format github; leave it out",
    "--every --format github": "--every: there is no table to show; leave it out",
    "--every -q": "--every: there is no table to show; leave it out",
    "case.npz --units 3": "--units: settled by the case; leave it out",
    "case.npz --training": "--training: settled by the case; leave it out",
    "net.onnx --training": (
        "--training: not for an ONNX model, which runs by itself; leave it out"
    ),
    **{
        f"--training {more}": (
            "--training: there is no dropout; add --arg dropout=RATE, or leave it out"
        )
        for more in ("", "--arg dropout=0.0", "--arg activation=relu")
    },
    "net.keras --training --mode predict": (
        "--training: predict never trains; choose another --mode, or leave it out"
    ),
    "net.keras --training --against x.npy": (
        "--training: no other implementation gets the dropout masks that Keras draws; leave out "
        "one of --training and --against"
    ),
    "a.keras b.onnx --mode eager": (
        "b.onnx: --mode: not for an ONNX model, which runs by itself; leave it out"
    ),
    "a.keras b.npz --batch 3": "b.npz: --batch: settled by the case; leave it out",
    "a.npz b.keras --no-keras": (
        "b.keras: --no-keras: only for a case or a folder of cases; leave it out"
    ),
    "net.onnx --calls 2": "--calls: not for an ONNX model, which runs by itself; leave it out",
    "case.npz --calls 2": "--calls: settled by the case; leave it out",
    **{
        f"{targets} --against {source}": (
            f"--against {source}: stands for one layer or model, received 2 targets; check them "
            "one by one"
        )
        for targets in ("a.keras b.keras", "a.keras b.npz")
        for source in ("port.onnx", "y.npy", "w.safetensors", "cmd:port")
    },
    "--units 100000": (
        "sizes: expected inputs, outputs and weights of at most 8 GiB in float64, received about "
        "75.2 GiB; make --batch, --timesteps, --features, --units or --calls smaller, or set "
        "RNN_PARITY_MOST_GIB=76"
    ),
}


@pytest.mark.parametrize("line", REFUSED, ids=lambda line: line[:40])
def test_refused_in_one_line(line, monkeypatch, capsys):
    calls = recorded(monkeypatch)
    said = refused(capsys, *["check", *line.split()])
    assert said == f"rnn-parity: error: {REFUSED[line]}\n"
    assert calls == []


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *[("--layer", "elman"), ("--mask", "top"), ("--initial-state", "ones")],
        *[("--mode", "jit"), ("--format", "xml")],
    ],
)
def test_an_unknown_choice_is_refused_by_name(option, value, capsys):
    said = refused(capsys, f"check {option} {value}")
    assert said.startswith(f"rnn-parity: error: argument {option}: expected one of ")
    assert said.endswith(f", received '{value}'{HINT}\n")


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        ("chekc", "check"),
        ("swep --layer lstm", "sweep"),
        ("net.keras", "check net.keras"),
        ("check --unitz 3", "--units"),
        ("check --lyaer=lstm", "--layer"),
        ("check --layer LTSM", "lstm"),
        ("sweep --layer simplernm", "simple_rnn"),
        ("check --mode Grahp", "graph"),
        ("faults --format jsn", "json"),
        ("--versoin", "--version"),
        ("check --versoin", "rnn-parity --version"),
        ("check --version", "rnn-parity --version"),
        ("check --against onxn", "onnx"),
        ("check --mask p2:none", "none"),
    ],
)
def test_a_mistyped_word_gets_the_nearest_right_one(arguments, meant, capsys):
    said = refused(capsys, arguments)
    assert f"; did you mean {meant}? " in said
    # The word that was meant stands before a list of all that there are.
    assert "expected" not in said.partition("did you mean")[0]
    assert "--help" in said.partition("did you mean")[2]


@pytest.mark.parametrize("command", ["check", "sweep"])
@pytest.mark.parametrize(
    ("spelled", "layer"),
    [
        *[(word, "simple_rnn") for word in ("SimpleRNN", "simple_rnn", "simple-rnn", "SIMPLERNN")],
        *[(word, "lstm") for word in ("LSTM", "lstm", "Lstm")],
        ("GRU", "gru"),
    ],
)
def test_a_layer_is_taken_in_any_of_its_spellings(command, spelled, layer):
    assert options.parser().parse_args([command, "--layer", spelled]).layer == layer


def test_wrappers_are_taken_in_any_of_their_spellings():
    parse = options.parser().parse_args
    assert parse(["check", "--layer", "Bidirectional"]).layer == "bidirectional"
    assert parse(["sweep", "--layer", "all"]).layer == "all"


def test_long_names_stand_beside_the_short_ones():
    parse = options.parser().parse_args
    for short, long, name in (
        ("-q", "--quiet", "quiet"),
        ("-v", "--verbose", "verbose"),
        ("-o x.txt", "--output x.txt", "output"),
    ):
        both = [getattr(parse(["check", *words.split()]), name) for words in (short, long)]
        assert both[0] == both[1] != getattr(parse(["check"]), name)


def test_commands_that_do_not_exist_are_refused(capsys):
    for arguments in ([], ["record"], ["sweeps"], ["faults", "x"], ["--bogus"]):
        refused(capsys, *arguments)


def test_the_hint_names_the_command_that_refused(capsys):
    assert cli.main(["faults", "--format", "github"]) == 2
    assert cli.main(["faults", "--units", "3"]) == 2
    assert cli.main(["sweeps"]) == 2
    hints = [re.split("[;?] ", line)[-1] for line in capsys.readouterr().err.splitlines()]
    assert hints == [f"try rnn-parity{command} --help" for command in (" faults", " faults", "")]


def test_the_help_states_the_defaults_that_hold():
    spec = generate.GeneratedLayer()
    commands = options.parser()._subparsers._group_actions[0].choices["check"]
    stated = {
        action.dest: re.search(r"\(default (\S+)\)", action.help)
        for action in commands._actions
        if action.help
    }
    names = ["layer", "units", "batch", "timesteps", "features", "seed"]
    for name in [*names, "mask", "initial_state", "calls"]:
        assert stated[name][1] == str(getattr(spec, name))


def test_every_wrapper_can_be_built():
    assert set(keras_adapter.WRAPPERS) == set(WRAPPERS)
