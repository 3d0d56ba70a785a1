"""The test server keeps what other tests lean on: versions, and a permission to delete that can be taken away."""

import os
import socket
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.s3server import READER, Bucket, running


def test_deleting_leaves_versions_and_a_marker(s3: Bucket) -> None:
    client = s3.client()
    versions = [client.put_object(Bucket=s3.name, Key="a/x", Body=body)["VersionId"] for body in (b"1", b"2")]
    marker = client.delete_object(Bucket=s3.name, Key="a/x")["VersionId"]
    upload = client.create_multipart_upload(Bucket=s3.name, Key="a/y")["UploadId"]
    expected = [("marker", "a/x", marker), ("upload", "a/y", upload), *(("version", "a/x", version) for version in versions)]
    assert s3.listing("a/") == sorted(expected)
    assert s3.listing("b/") == []


def test_deletion_can_be_denied_and_given_back(s3: Bucket) -> None:
    client = s3.client()
    version = client.put_object(Bucket=s3.name, Key="x", Body=b"1")["VersionId"]
    with s3.deletion_denied():
        with pytest.raises(ClientError, match="AccessDenied"):
            client.delete_object(Bucket=s3.name, Key="x")
        with pytest.raises(ClientError, match="AccessDenied"):
            client.delete_object(Bucket=s3.name, Key="x", VersionId=version)
        answer = client.delete_objects(Bucket=s3.name, Delete={"Objects": [{"Key": "x", "VersionId": version}]})
        assert [error["Code"] for error in answer["Errors"]] == ["AccessDenied"], "a batch is refused inside an answer of 200"
        client.put_object(Bucket=s3.name, Key="y", Body=b"1")
    for _, key, version_id in s3.listing():
        client.delete_object(Bucket=s3.name, Key=key, VersionId=version_id)
    assert s3.listing() == []


def test_the_reader_cannot_write(s3: Bucket) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.client(READER).put_object(Bucket=s3.name, Key="x", Body=b"1")


def test_a_server_ends_with_its_context(tmp_path: Path) -> None:
    with running(tmp_path / "other") as server:
        port = int(server.endpoint.rpartition(":")[2])
        socket.create_connection(("127.0.0.1", port)).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)
