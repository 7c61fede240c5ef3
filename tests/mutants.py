"""Changes the core in small ways, one at a time, and names what no test notices: `make mutants`.

mutmut makes the changes with its default operators; pyproject.toml, `[tool.mutants]`, says which
tests can notice those of each module. Fails where fewer than 95% are noticed, or one that is not
is missing in `mutants_equivalent.toml`, which says why it changes nothing that counts. Names of
modules select some of them: `tests/mutants.py cells near`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import libcst as cst
import tomllib
from mutmut import configuration
from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code
from mutmut.utils.format_utils import orig_function_and_class_names_from_key

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "mutants"
EQUIVALENT = ROOT / "tests" / "mutants_equivalent.toml"
LEAST = 0.95
"""What share of all mutants the tests must notice."""
NOTICED = ("killed", "timeout", "segfault", "suspicious")
"""What mutmut calls a test that fails, never ends, or takes the process with it."""

SETTINGS = """\
[tool.mutmut]
source_paths = ["rnn_parity"]
only_mutate = ["rnn_parity/{module}.py"]
pytest_add_cli_args = ["-p", "no:cacheprovider"]
pytest_add_cli_args_test_selection = {tests}
use_setproctitle = false
"""
CONFTEST = """\
# A counterexample is enough: the smallest one would take its time to find.
from hypothesis import Phase, settings

phases = (Phase.explicit, Phase.generate)
settings.register_profile("mutants", phases=phases, derandomize=True, database=None)
settings.load_profile("mutants")

# What survives is tried on every test, so that the slow ones would be most of the time.
def pytest_collection_modifyitems(items):
    items[:] = [item for item in items if not item.get_closest_marker("slow")]
"""


@dataclass(frozen=True)
class Mutant:
    """One change that was made to a function, as its lines before and after."""

    module: str
    function: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.module}.{self.function}\n    - {self.before}\n    + {self.after}"


class Undecorated(cst.CSTTransformer):
    """`f = decorator(f)` beneath `def f` in place of `@decorator` above it.

    mutmut leaves decorated functions alone, so that a core full of `@property` and `@np.errstate`
    would go unchanged; Python itself means the two to be the same.
    """

    def leave_FunctionDef(  # noqa: N802, the visitor's name for it
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.FunctionDef | cst.FlattenSentinel[cst.BaseStatement]:
        decorators = [one.decorator for one in updated_node.decorators]
        names = [one.value for one in decorators if isinstance(one, cst.Name)]
        if not decorators or names in (["classmethod"], ["staticmethod"]):
            return updated_node
        value: cst.BaseExpression = updated_node.name
        for decorator in reversed(decorators):
            value = cst.Call(decorator, [cst.Arg(value)])
        assignment = cst.Assign([cst.AssignTarget(updated_node.name)], value)
        plain = updated_node.with_changes(decorators=[])
        return cst.FlattenSentinel([plain, cst.SimpleStatementLine([assignment])])


def staged(module: str, tests: list[str]) -> Path:
    """A folder with the package, the tests and what mutmut reads, for the mutants of one module."""
    folder = BUILD / module.replace("/", "-")
    shutil.rmtree(folder, ignore_errors=True)
    leave = shutil.ignore_patterns("__pycache__", "conftest.py")
    for name in ("rnn_parity", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=leave)
    path = folder / "rnn_parity" / f"{module}.py"
    path.write_text(cst.parse_module(path.read_text()).visit(Undecorated()).code)
    files = [f"tests/{name}.py" for name in tests]
    (folder / "pyproject.toml").write_text(SETTINGS.format(module=module, tests=files))
    (folder / "tests" / "conftest.py").write_text(CONFTEST)
    return folder


def tried(module: str, tests: list[str]) -> tuple[Counter[str], list[Mutant]]:
    """How many mutants of a module came to which end, and those that no test noticed."""
    folder = staged(module, tests)
    log = folder.with_suffix(".txt")
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(os.cpu_count())]
    with log.open("w") as file:
        done = subprocess.run(
            command, cwd=folder, stdout=file, stderr=subprocess.STDOUT, check=False
        )
    if done.returncode:
        sys.exit(f"{module}: mutmut failed; {log} says why")
    os.chdir(folder)
    configuration.reset_config()
    data = SourceFileMutationData(path=Path(f"rnn_parity/{module}.py"))
    data.load()
    ends = {name: status_by_exit_code[code] for name, code in data.exit_code_by_key.items()}
    unnoticed = [name for name, end in ends.items() if end not in NOTICED]
    return Counter(ends.values()), [mutant(module, name) for name in unnoticed]


def mutant(module: str, name: str) -> Mutant:
    """The mutant that mutmut calls so, by its function and what was changed in it."""
    lines = get_diff_for_mutant(name).splitlines()[2:]
    before, after = (
        " ".join(line[1:].strip() for line in lines if line[:1] == sign) for sign in "-+"
    )
    function, owner = orig_function_and_class_names_from_key(name)
    return Mutant(module, f"{owner}.{function}" if owner else function, before, after)


def equivalents() -> dict[Mutant, str]:
    """The mutants that change nothing that counts, with the reason why."""
    listed = tomllib.loads(EQUIVALENT.read_text()).get("equivalent", [])
    return {
        Mutant(one["module"], one["function"], *change): one["reason"]
        for one in listed
        for change in one["changes"]
    }


def main(arguments: list[str]) -> int:
    tests = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutants"]
    known, failed, every = equivalents(), False, Counter[str]()
    for module in arguments or tests:
        start = time.monotonic()
        ends, unnoticed = tried(module, tests[module])
        every += ends
        took = (time.monotonic() - start) / ends.total()
        print(f"{module}: {dict(ends)}, {took:.2f} s each", flush=True)
        for one in unnoticed:
            if one not in known:
                failed = True
                print(f"  not noticed: {one}", flush=True)
        for one in known:
            if one.module == module and one not in unnoticed:
                print(f"  listed, but noticed: {one}")
    share = sum(every[end] for end in NOTICED) / every.total()
    print(f"{every.total()} mutants, {share:.1%} noticed")
    return int(failed or share < LEAST)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
