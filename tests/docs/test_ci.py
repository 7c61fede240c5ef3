"""What runs elsewhere: workflows, the hook, and the examples of them in the manual."""

import argparse
import re
import shlex
from pathlib import Path

import pytest

from rnn_parity.cli.options import parser

yaml = pytest.importorskip("yaml", reason="the extra test is not installed as it is now")

ROOT = Path(__file__).parents[2]
WORKFLOWS = {path.name: path for path in (ROOT / ".github" / "workflows").glob("*.yml")}
PAGE = (ROOT / "rnn_parity" / "docs" / "cases.md").read_text()
EXAMPLES = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
HOOKS = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
CALLED = "./.github/workflows/check.yml"


def loaded(name):
    # YAML 1.1, which PyYAML reads, takes the key `on` for true.
    return {("on" if key is True else key): value for key, value in load(name).items()}


def load(name):
    return yaml.safe_load(WORKFLOWS[name].read_text())


def steps(name):
    return [step for job in loaded(name)["jobs"].values() for step in job.get("steps", [])]


def lines():
    """Every command line of this program that somebody else's machine runs."""
    scripts = [step.get("run", "") for name in WORKFLOWS for step in steps(name)]
    scripts += [command for example in EXAMPLES for command in scripts_of(example)]
    scripts += [hook["entry"] for hook in HOOKS]
    found = [line for script in scripts for line in script.splitlines()]
    return [line.strip() for line in found if line.strip().startswith("rnn-parity ")]


def scripts_of(example):
    jobs = [job for job in example.values() if isinstance(job, dict)]
    hooks = [hook for repo in example.get("repos", []) for hook in repo["hooks"]]
    return [
        *(line for job in jobs for line in job.get("script", [])),
        *(hook["entry"] for hook in hooks),
    ]


def test_every_command_line_has_options_that_there_are():
    found = lines()
    assert len(found) >= 4
    for line in found:
        given = parser().parse_args(shlex.split(line.replace("$OPTIONS", ""))[1:])
        assert isinstance(given, argparse.Namespace)
        assert given.command == "check"


def test_whoever_calls_the_workflow_gives_what_it_asks_for():
    inputs = loaded("check.yml")["on"]["workflow_call"]["inputs"]
    required = {name for name, one in inputs.items() if one.get("required")}
    callers = [loaded("parity.yml")["jobs"]["regression"], EXAMPLES[0]["jobs"]["parity"]]
    for caller in callers:
        assert caller["uses"].partition("@")[0].endswith(CALLED.removeprefix("."))
        assert required <= {*caller["with"]} <= {*inputs}


def test_no_input_of_a_workflow_is_taken_for_a_part_of_a_script():
    for name in WORKFLOWS:
        for step in steps(name):
            assert "${{" not in step.get("run", ""), (name, step)


def test_every_input_of_the_workflow_is_used():
    text = WORKFLOWS["check.yml"].read_text()
    for name in loaded("check.yml")["on"]["workflow_call"]["inputs"]:
        assert f"${{{{ inputs.{name} }}}}" in text


def test_the_hook_has_what_pre_commit_asks_for():
    for hook in HOOKS:
        assert {"id", "name", "entry", "language"} <= {*hook}
        assert re.search(hook["files"], "tests/cases/gru.npz")
        assert f"id `{hook['id']}`" in PAGE
