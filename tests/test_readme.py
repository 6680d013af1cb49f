"""What the README and its next pages tell people to type exists."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from clickpose.__main__ import app

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text()
PAGES = [README, *((REPOSITORY / "docs" / name).read_text() for name in ("teams.md", "editor.md"))]


def _typed() -> list[str]:
    """Every command line of the pages that begins with clickpose, on one line each."""
    blocks = [line for page in PAGES for line in re.findall(r"^ *(clickpose (?:[^\n]*\\\n)*[^\n]*)", page, re.M)]
    inline = [line for page in PAGES for line in re.findall(r"`(clickpose [^`]+)`", page)]
    return sorted({re.sub(r"\s*\\\n\s*", " ", line).split("#")[0].strip() for line in blocks + inline})


@pytest.mark.parametrize("line", _typed())
def test_every_command_and_option_exists(line: str) -> None:
    command, words = get_command(app), line.split()[1:]
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    assert not hasattr(command, "commands"), f"{line} names no command"
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in words if word.startswith("--")} <= known | {"--help"}


@pytest.mark.parametrize("target", ["demo", "test", "check"])
def test_make_targets_exist(target: str) -> None:
    done = subprocess.run(["make", "--dry-run", target], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", re.findall(r"\]\(([^)h][^)]*)\)", README))
def test_linked_files_exist(name: str) -> None:
    assert (REPOSITORY / name).exists()


def test_a_mistake_is_explained_in_one_line() -> None:
    command = [sys.executable, "-m", "clickpose", "models", "show", "v0001", "--store", "no-such-store"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.strip().splitlines()[-1].startswith("clickpose: ")
    assert "Traceback" not in done.stderr
