"""Fixtures that every room's tests may use."""

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.s3server import Bucket, Server, running

# Examples are the same on every run of CI, which must not fail by chance; on a developer's machine they are new each time.
# Machines are shared and slow at times: time is no failure.
hypothesis.settings.register_profile(
    "auditlake",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.data_too_large],
)
hypothesis.settings.load_profile("auditlake")

ROOT = Path(__file__).resolve().parent.parent


os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # hundreds of commands are begun, and each would compile all of auditlake


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No setting or credential of the person who runs the tests reaches them."""
    for name in list(os.environ):
        if name.startswith(("AUDITLAKE_", "AWS_")):
            monkeypatch.delenv(name)
    nothing = tmp_path_factory.getbasetemp() / "no-such-aws-file"
    monkeypatch.setenv("AWS_CONFIG_FILE", str(nothing))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(nothing))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One real S3 server (SeaweedFS) per test process, started when first asked for."""
    with running(tmp_path_factory.mktemp("s3") / "server") as server:
        yield server


@pytest.fixture
def s3(s3_server: Server, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """A fresh versioned bucket on the real server; the environment holds the writer's credentials, as the AWS chain reads them."""
    bucket = s3_server.new_bucket()
    for name, value in bucket.environment.items():
        monkeypatch.setenv(name, value)
    return bucket


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long lives go first, so that the other worker has all the rest meanwhile."""
    items.sort(key=lambda item: "simulation" not in item.path.parts)
