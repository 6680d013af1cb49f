"""Who may import whom, that importing starts nothing, and how tests are written."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("clickpose", "integrations", "pipeline", "serve")
COMPOSITION_ROOT = ("clickpose.commands", "clickpose.__main__")  # knows every package; no package knows it
WEB = ("fastapi", "httpx", "label_studio_sdk", "pydantic", "starlette", "uvicorn")


def within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def nodes_of(path: Path) -> list[ast.AST]:
    return list(ast.walk(tree_of(path)))


@cache
def imports_of(path: Path) -> list[str]:
    """Every module a source imports, also inside functions; a name imported from a package may be a module, too."""
    modules = set()
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"import of {node.module or '.'} is relative"
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    return sorted(modules)


SOURCES = {module_name(path): path for package in PACKAGES for path in (ROOT / package).rglob("*.py")}


def imports() -> dict[str, list[str]]:
    """What each module of the product imports."""
    return {module: imports_of(path) for module, path in SOURCES.items()}


def breaches(importers: tuple[str, ...], forbidden: tuple[str, ...], *, except_for: tuple[str, ...] = ()) -> list[str]:
    """``a imports b`` for every import of something forbidden."""
    return [
        f"{module} imports {imported}"
        for module, imported_modules in imports().items()
        if within(module, importers) and not within(module, COMPOSITION_ROOT)
        for imported in imported_modules
        if within(imported, forbidden) and not within(imported, except_for)
    ]


def test_every_package_is_looked_at() -> None:
    assert {module.split(".")[0] for module in SOURCES} == set(PACKAGES)
    assert "clickpose.training.targets.Target" in imports()["clickpose.training.losses"]


def test_the_method_knows_no_other_package_no_ray_and_no_web() -> None:
    assert breaches(("clickpose",), ("integrations", "pipeline", "serve", "ray", *WEB)) == []


def test_formats_know_values_and_errors_of_the_method_no_ray_and_no_torch() -> None:
    values = ("clickpose.annotations", "clickpose.skeleton", "clickpose.errors")
    assert breaches(("integrations",), ("clickpose",), except_for=values) == []
    assert breaches(("integrations",), ("pipeline", "serve", "ray", "torch", "torchvision")) == []


def test_training_and_serving_never_import_each_other() -> None:
    assert breaches(("pipeline",), ("serve",)) == []
    assert breaches(("serve",), ("pipeline",)) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Also for type checking: two modules that cannot be understood one by one are one."""
    remaining = {
        module: {other for other in SOURCES for name in names if name in (other, f"{other}.{name.rpartition('.')[2]}")}
        for module, names in imports().items()
    }
    while leaves := [module for module, imported in remaining.items() if not imported & set(remaining) - {module}]:
        remaining = {module: imported for module, imported in remaining.items() if module not in leaves}
    assert remaining == {}


def test_the_network_knows_neither_how_it_is_trained_nor_how_it_is_made_fast() -> None:
    assert breaches(("clickpose.model",), ("clickpose.training", "clickpose.inference", "clickpose.rewriting")) == []
    assert breaches(("clickpose.inference",), ("clickpose.training",)) == []


def test_no_package_imports_the_composition_root() -> None:
    assert breaches(PACKAGES, COMPOSITION_ROOT) == []


def test_parity_knows_the_method_only_and_no_package_knows_parity() -> None:
    sources = {path: imports_of(path) for path in (ROOT / "parity").rglob("*.py")}
    strangers = ("integrations", "pipeline", "serve", "ray", "tests", "benchmarks", *COMPOSITION_ROOT)
    assert [str(path) for path, imported in sources.items() if any(within(one, strangers) for one in imported)] == []
    ours = ("clickpose", "torch", "torchvision")
    twin = {path: imported for path, imported in sources.items() if path.parent.name == "twin"}
    assert len(twin) > 5
    assert [str(path) for path, imported in twin.items() if any(within(one, ours) for one in imported)] == []
    assert breaches(PACKAGES, ("parity",)) == []


def test_no_model_is_unpickled() -> None:
    """Weights are safetensors; a torch pickle may be read with ``weights_only=True`` and not otherwise."""
    for module, path in SOURCES.items():
        for node in nodes_of(path):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.load", "pickle.load", "pickle.loads"):
                assert "weights_only=True" in ast.unparse(node), f"{module} line {node.lineno}"


def test_every_package_opens_with_a_map_of_its_modules() -> None:
    lost = []
    for path in (path for path in SOURCES.values() if path.name == "__init__.py"):
        rooms = {room.parent for room in path.parent.glob("*/__init__.py")}
        modules = set(path.parent.glob("*.py")) - {path, path.with_name("__main__.py")}
        opening = ast.get_docstring(tree_of(path)) or ""
        lost += [str(one) for one in modules | rooms if one.stem not in opening]
    assert lost == []


def test_functions_have_at_most_40_lines_and_six_parameters() -> None:
    large = []
    for module, path in SOURCES.items():
        for node in nodes_of(path):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
                num_lines = (node.end_lineno or 0) - first.lineno + 1
                given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                if num_lines > 40 or len([one for one in given if one.arg not in ("self", "cls")]) > 6:
                    large.append(f"{module}.{node.name}")
    assert large == []


def run_python(source: str, folder: Path = ROOT) -> str:
    settings = os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, "-c", source], cwd=folder, env=settings, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


LIGHT = ("clickpose.annotations", "clickpose.skeleton", "clickpose.errors", "clickpose.images", "clickpose.oks")


@pytest.mark.parametrize(
    "modules",
    [LIGHT, [module for module in SOURCES if within(module, ("integrations",))], ["clickpose.__main__"]],
    ids=["values", "formats", "command line"],
)
def test_what_is_light_imports_nothing_heavy(modules: list[str]) -> None:
    heavy = "sorted({'torch', 'torchvision', 'ray', 'matplotlib', 'pandas'} & set(sys.modules))"
    assert run_python(f"import sys, {', '.join(modules)}; print({heavy})") == "[]"


def test_help_imports_only_what_prints_it() -> None:
    slow = "sorted({'httpx', 'numpy', 'pydantic', 'PIL', 'asyncio'} & set(sys.modules))"
    assert run_python(f"import sys, clickpose.__main__; print({slow})") == "[]"


CENSUS = """
import gc, importlib, logging, multiprocessing, pathlib, sys, threading
gc.disable()  # imports take half the time
import ray, ray.serve, torch
before = set(pathlib.Path.cwd().iterdir()), threading.active_count()
for module in {modules}:
    importlib.import_module(module)
import ray
assert not ray.is_initialized()
assert "matplotlib" not in sys.modules, "figures are rarely asked for, and slow to import"
assert threading.active_count() == before[1], threading.enumerate()
assert not multiprocessing.active_children()
assert set(pathlib.Path.cwd().iterdir()) == before[0]
ours = [name for name in logging.root.manager.loggerDict if name.split(".")[0] in {packages}]
assert not logging.root.handlers and not any(logging.getLogger(name).handlers for name in ours)
"""


def test_importing_everything_starts_nothing(tmp_path: Path) -> None:
    assert run_python(CENSUS.format(modules=sorted(SOURCES), packages=PACKAGES), tmp_path) == ""


TRIALS = {
    module_name(path): path for folder in ("tests", "benchmarks", "examples") for path in (ROOT / folder).rglob("*.py")
}


def test_tests_benchmarks_and_examples_never_import_each_other() -> None:
    folders = {"tests", "benchmarks", "examples"}
    assert [
        f"{module} imports {imported}"
        for module, path in TRIALS.items()
        for imported in imports_of(path)
        if within(imported, tuple(folders - {module.split(".")[0]}))
    ] == []


def test_every_test_file_opens_with_a_sentence() -> None:
    openings = {
        module: ast.get_docstring(tree_of(path)) or ""
        for module, path in TRIALS.items()
        if path.name.startswith("test_")
    }
    assert len(openings) > 100
    assert [module for module, opening in openings.items() if not opening.split("\n\n")[0].endswith(".")] == []


def private_names() -> set[str]:
    """Functions, classes, attributes and constants of the product whose names begin with one underscore."""
    nodes = [node for path in SOURCES.values() for node in nodes_of(path)]
    defined = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    assigned = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    kept = {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}
    return {name for name in defined | assigned | kept if name.startswith("_") and name.strip("_") and name[1] != "_"}


def names_used(path: Path) -> Iterator[str]:
    """Every name that a source imports, reads off an object other than ``self``, or gives to ``setattr``."""
    for node in nodes_of(path):
        if isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) != "self":
            yield node.attr
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("setattr"):
            words = (argument.value for argument in node.args[:2] if isinstance(argument, ast.Constant))
            yield from (str(word).rpartition(".")[2] for word in words)


def test_tests_use_no_private_name_of_the_product() -> None:
    private = private_names()
    assert "_move_references" in private
    tests = {module: path for module, path in TRIALS.items() if path.name.startswith("test_")}
    used = {module: private.intersection(names_used(path)) for module, path in tests.items()}
    assert {module: names for module, names in used.items() if names} == {}
