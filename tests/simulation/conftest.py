"""Fixtures of the simulations."""

from pathlib import Path

import pytest

from tests.simulation.places import Site


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Site:
    """A data directory whose commands run, and are killed, in processes of their own."""
    return Site(tmp_path_factory.mktemp("site"), root)
