"""docs/policy.md promises nothing in the name of a command or a test that is not there."""

import ast
import re
from pathlib import Path

import click
import pytest

from auditlake.cli import cli

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")
TABLE = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in PAGE.splitlines() if line.startswith("| ")][1:]
TESTS = sorted(set(re.findall(r"`(tests/[^`]+)`", PAGE)))
NOT_BUILT = "not built yet"


def names(path: Path) -> set[str]:
    """Functions and classes of tests in a file, and what else it calls a test."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found


def exists(words: list[str]) -> bool:
    """Whether the words begin with the name of a command, groups spelled out."""
    command: click.Command = cli
    for word in words:
        if not isinstance(command, click.Group):
            break
        if word not in command.commands:
            return False
        command = command.commands[word]
    return not isinstance(command, click.Group)


def test_there_are_sentences_and_tests_to_check() -> None:
    assert len(TABLE) >= 15
    assert len(TESTS) >= 15


@pytest.mark.parametrize("named", TESTS)
def test_every_test_that_is_named_exists(named: str) -> None:
    path, _, name = named.partition("::")
    assert (ROOT / path).is_file()
    assert not name or (name.lower().startswith("test") and name in names(ROOT / path))


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row[0][:40])
def test_every_sentence_has_a_command_and_a_test_or_says_that_it_is_not_built(row: list[str]) -> None:
    sentence, command, proof = row
    assert sentence
    if command == NOT_BUILT:
        assert proof == ""
        return
    commands = re.findall(r"`auditlake ([^`]+)`", command)
    assert commands
    assert [each for each in commands if not exists(each.split())] == []
    assert re.findall(r"`tests/[^`]+`", proof)


def test_a_command_that_does_not_exist_is_found() -> None:
    assert exists(["run", "purge"])
    assert exists(["hold", "add"])
    assert not exists(["nonsense"])
    assert not exists(["hold"])
    assert not exists(["hold", "nonsense"])
