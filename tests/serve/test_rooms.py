"""The packages of ``serve`` depend on each other in one direction."""

from pathlib import Path

from tests.test_architecture import imports_of

SERVE = Path(__file__).parents[2] / "serve"
MAY_IMPORT = {
    "monitoring": set(),
    "images": set(),
    "models": set(),
    "sessions": set(),
    "replica": {"monitoring", "images", "models", "sessions", "settings"},
    "load": {"monitoring"},
    "web": {"monitoring", "images", "sessions", "replica", "settings"},
}


def test_packages_import_only_what_lies_below_them() -> None:
    assert set(MAY_IMPORT) == {path.parent.name for path in SERVE.glob("*/__init__.py")}
    for package, allowed in MAY_IMPORT.items():
        for path in (SERVE / package).glob("*.py"):
            parts = [module.split(".") for module in imports_of(path)]
            imported = {names[1] for names in parts if names[0] == "serve"}
            assert imported <= allowed | {package}, path


def test_settings_build_nothing() -> None:
    assert not [module for module in imports_of(SERVE / "settings.py") if module.startswith("serve.")]
