"""No label of these formats has a name that redaction takes for a secret's, which would lose its value."""

import pytest

from ingest import formats
from tests.unit.ingest.line_rows import lines_of
from transforms.redact import Redact


@pytest.mark.parametrize("name", ["alb", "elb", "s3_access", "haproxy", "envoy", "traefik", "squid"])
def test_the_labels_of_the_sample_stay(name: str) -> None:
    form = formats.get(name)
    rows = formats.parse(form, lines_of(form.sample)).rows
    assert rows["labels"].null_count == 0
    assert Redact().apply(rows)["labels"].equals(rows["labels"])
