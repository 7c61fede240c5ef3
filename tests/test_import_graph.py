"""Who imports whom: no cycles, one door to TensorFlow, and a core that needs NumPy alone."""

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "rnn_parity"
FILES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}
FLOORS = (
    {"errors", "system"},
    {"recurrence"},
    {"bounds"},
    {"verdict"},
    {"diagnosis"},
    {"cases", "keras_adapter"},
    {"implementations"},
    {"report"},
    {"api"},
    {"sweep"},
    {"cli", "pytest_plugin"},
    {"__main__"},
)
"""The rooms, from the ground: each imports from the floors below its own, and from itself."""
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
CORE = ("recurrence", "bounds", "verdict", "diagnosis")
# What the other rooms do with JSON is no formatting: they read descriptions, reports and journals.
READERS = {"cases", "keras_adapter", "implementations", "api", "sweep", "verdict", "pytest_plugin"}
DOOR = "rnn_parity.keras_adapter"
# The program of a process of its own, in which Keras has another backend than TensorFlow.
CHILD = "rnn_parity.implementations.keras_backend"
# What people start, and Python starts for them.
ENTRIES = {"rnn_parity", "rnn_parity.cli.main", "rnn_parity.pytest_plugin", CHILD}
FRAMEWORKS = {"tensorflow", "keras", "tf_keras"}
# Packages that only some `--against` sources, or forms of output, need.
EXTRAS = {
    "ai_edge_litert",
    "jax",
    "jinja2",
    "junitparser",
    "markdown_it",
    "markupsafe",
    "resvg_py",
    "onnx",
    "onnxruntime",
    "openvino",
    "safetensors",
    "torch",
}


def type_checking(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def imports(module, *, everywhere):
    """The modules that `module` imports: when it is imported itself, or anywhere in it."""
    found, nodes = set(), [ast.parse(FILES[module].read_text())]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in FILES else node.module for name in names}
        elif not type_checking(node) and (everywhere or not isinstance(node, ast.FunctionDef)):
            nodes += ast.iter_child_nodes(node)
    return found - {"__future__", module}


@cache
def reach(module):
    """Everything outside the package that importing `module` imports, with all it imports."""
    own = imports(module, everywhere=False)
    outside = {name.split(".")[0] for name in own if name not in FILES}
    return outside.union(*(reach(name) for name in own if name in FILES))


def room(module):
    """The room of a module; the package itself has none."""
    return module.split(".")[1] if "." in module else None


def test_every_module_is_in_a_room():
    assert {room(name) for name in FILES} - {None} == set(FLOOR)
    assert "numpy" in reach("rnn_parity.recurrence.precision")


def test_no_room_imports_from_a_higher_floor():
    for name in FILES:
        for imported in imports(name, everywhere=True) & set(FILES) - {"rnn_parity"}:
            own, other = room(name), room(imported)
            if own not in (None, other):
                assert FLOOR[other] < FLOOR[own] or {own, other} == FLOORS[0], (name, imported)


def test_there_are_no_cycles():
    graph = {name: imports(name, everywhere=True) & set(FILES) for name in FILES}
    # The package finds its names on first use, from modules that know nothing of it.
    del graph["rnn_parity"]
    assert list(TopologicalSorter(graph).static_order())


def test_few_modules_serve_one_other_alone():
    """A module with one importer is a thing of its own, or a fragment: at most one in five is."""
    importers = {name: set() for name in FILES}
    for name in FILES:
        for imported in imports(name, everywhere=True) & set(FILES):
            importers[imported].add(name)
    alone = {name for name, users in importers.items() if len(users) == 1} - ENTRIES
    assert 5 * len(alone) <= len(FILES), sorted(alone)


def test_no_module_is_named_like_a_public_function():
    functions = {"check", "compare", "replay"}
    assert not functions & {name.rpartition(".")[2] for name in FILES}


@pytest.mark.parametrize("name", FILES)
def test_tensorflow_has_one_door(name):
    roots = {imported.split(".")[0] for imported in imports(name, everywhere=True)}
    if not name.startswith(DOOR):
        assert roots & FRAMEWORKS == ({"keras"} if name == CHILD else set())
    roots = {imported.split(".")[0] for imported in imports(name, everywhere=False)}
    assert not roots & (FRAMEWORKS | EXTRAS)


@pytest.mark.parametrize("name", [name for name in FILES if room(name) in CORE])
def test_the_core_needs_numpy_alone(name):
    assert reach(name) <= {"numpy", "threadpoolctl", *sys.stdlib_module_names}


@pytest.mark.parametrize("name", FILES)
def test_only_the_report_formats(name):
    roots = {imported.split(".")[0] for imported in imports(name, everywhere=True)}
    if room(name) != "report":
        assert "tabulate" not in roots
        assert "json" not in roots or room(name) in READERS


@pytest.mark.parametrize("name", FILES)
def test_only_cases_write_cases(name):
    if room(name) != "cases":
        assert "rnn-parity/case/" not in FILES[name].read_text()


def modules_after(code):
    """The modules that a new interpreter has loaded after `code`."""
    code += "; import sys; print(*sys.modules)"
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=PACKAGE.parent, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_imports_almost_nothing():
    assert not modules_after("import rnn_parity") & {"numpy", *FRAMEWORKS}


def test_weights_are_replayed_and_compared_without_tensorflow():
    found = modules_after(
        "import rnn_parity as rp, numpy as np; x = np.ones((1, 2, 1)); "
        "w = rp.SimpleRNN([[1.0]], [[0.5]], activation=None); y = rp.replay(w, x).outputs; "
        "r = rp.compare(w, x, y, y[:, -1]); assert r; str(r); r.to_json()"
    )
    assert "rnn_parity.verdict.judge" in found
    assert not found & FRAMEWORKS
