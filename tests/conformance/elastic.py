"""Filebeat's module tests: beside X.log a list of flat ECS documents, each with the offset of its line."""

import json
from itertools import accumulate

from tests.conformance.cases import DATA, CaseFile
from tests.conformance.files import FILES
from tests.conformance.loading import Fields, case_file

__all__ = ["PROJECT", "load"]

PROJECT = "elastic-beats"


def load() -> list[CaseFile]:
    """Its files, with what is expected of their lines."""
    return [case_file(PROJECT, path, path.split("/")[2], _fields(path)) for path in FILES[PROJECT]]


def _fields(path: str) -> dict[int, Fields]:
    file = DATA / PROJECT / path
    ends = accumulate(len(line) for line in file.read_bytes().splitlines(keepends=True))
    lines = {offset: number for number, offset in enumerate([0, *ends], start=1)}
    documents = json.loads(file.with_name(f"{file.name}-expected.json").read_text(encoding="utf-8"))
    return {lines[document["log.offset"]]: document for document in documents}
