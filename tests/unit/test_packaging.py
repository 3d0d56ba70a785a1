"""The rooms are top-level packages with plain names: in this environment each must be ours alone."""

import tomllib
from importlib.metadata import entry_points, packages_distributions
from pathlib import Path

import pytest

ROOMS = ("auditlake", "jobs", "query", "compliance", "ingest", "transforms", "storage", "core")


@pytest.fixture(scope="module")
def owners() -> dict[str, set[str]]:
    return {name: set(distributions) for name, distributions in packages_distributions().items()}


@pytest.mark.parametrize("room", ROOMS)
def test_the_name_is_ours_alone(room: str, owners: dict[str, set[str]]) -> None:
    assert owners.get(room, set()) == {"auditlake"}, "run make setup; then see which distribution brings this name"


def test_nothing_else_is_installed_with_it(owners: dict[str, set[str]]) -> None:
    assert {name for name, by in owners.items() if "auditlake" in by} == set(ROOMS)


def test_every_package_of_the_tree_is_listed(root: Path) -> None:
    listed = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {".".join(path.parent.relative_to(root).parts) for room in ROOMS for path in (root / room).rglob("*.py")}
    assert set(listed) == found
    assert len(listed) == len(found)


def test_the_command_is_installed() -> None:
    (command,) = entry_points(group="console_scripts", name="auditlake")
    assert command.value == "auditlake.cli:main"
    assert callable(command.load())
