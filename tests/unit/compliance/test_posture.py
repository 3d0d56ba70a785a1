"""The rules of the doctor over facts: what is well, what is not, what is not known, and the remedy of each."""

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from compliance.posture import Check, LocalFacts, bucket_checks, local_checks, unreachable
from core.clock import UTC
from core.policy import Period, StreamPolicy
from storage.bucket_facts import BucketFacts, Lock, Rule, Unknown

POLICY = StreamPolicy("requests", Period(months=1), Period(months=12), Period(months=1))
SHORT = StreamPolicy("debug", Period(days=7), Period(days=30), Period(days=7))
ENDS_UPLOADS = Rule("uploads", uploads=7)
DENIED = Unknown("the credentials lack s3:GetSomething")
GOOD = BucketFacts(
    "logs", "lake", encryption="aws:kms", versioning="Enabled", open_blocks=(), public=False, rules=(ENDS_UPLOADS,), lock=None,
    uploads=0, listed=True, others=0, skew=1.5,
)  # fmt: skip
WELL = LocalFacts(
    modes={"data": 0o700, "data/keys/master.key": 0o600}, free=50 << 30, total=100 << 30, databases={"city": "2026-06-01"},
    key="/etc/auditlake/master.key", key_beside=False, now=dt.datetime(2026, 11, 24, tzinfo=UTC), rejected_lines=0, rejected_oldest=None,
    rejected_late=0, serving=True, red={}, overdue={"requests": 0}, residue=0,
)  # fmt: skip


def of_bucket(busy: bool = False, policies: tuple[StreamPolicy, ...] = (POLICY,), **facts: Any) -> dict[str, Check]:
    return {check.name: check for check in bucket_checks(replace(GOOD, **facts), policies, busy)}


def of_machine(**facts: Any) -> dict[str, Check]:
    return {check.name: check for check in local_checks(replace(WELL, **facts))}


def test_a_place_that_is_well_passes_everything_that_can_be_known() -> None:
    checks = of_bucket() | of_machine()
    assert [check.name for check in checks.values() if check.ok is not True] == ["backup"]
    assert [check.name for check in checks.values() if check.remedy] == ["backup"], "what is well needs no remedy"
    assert len(checks) == 23


def test_what_is_not_known_is_never_told_as_well() -> None:
    names = [field for field in vars(GOOD) if field not in ("bucket", "prefix")]
    unknown: dict[str, Any] = dict.fromkeys(names, Unknown("the server has no such API"))
    checks = of_bucket(**unknown)
    assert {check.name for check in checks.values() if check.ok is not None} == {"bucket"}
    assert all("the server has no such API" in check.detail for check in checks.values() if check.ok is None)


@pytest.mark.parametrize(
    ("facts", "name", "detail", "remedy"),
    [
        ({"encryption": ""}, "encryption", "not encrypted", "aws s3api put-bucket-encryption --bucket logs"),
        ({"versioning": "Suspended"}, "versioning", "suspended", "Status=Enabled"),
        ({"versioning": ""}, "versioning", "never switched on", "Status=Enabled"),
        ({"open_blocks": ("BlockPublicAcls",)}, "public_access_block", "off: BlockPublicAcls", "put-public-access-block"),
        ({"public": True}, "public_policy", "opens it to everybody", "delete-bucket-policy"),
        ({"uploads": 3}, "incomplete_uploads", "3 are left", "auditlake run upkeep"),
        ({"lock": Lock("COMPLIANCE", 400)}, "object_lock", "locked for 400 days (COMPLIANCE)", "put-object-lock-configuration"),
        ({"lock": Lock("GOVERNANCE", 1)}, "object_lock", "locked for 1 days", "put-object-lock-configuration"),
        ({"listed": DENIED}, "credentials_needed", "lack s3:GetSomething", "policy of the README"),
        ({"others": 4}, "credentials_excess", "4 other buckets", "credentials of its own"),
        ({"skew": 90.0}, "clock", "90 seconds behind", "timedatectl"),
        ({"skew": -61.0}, "clock", "61 seconds before", "timedatectl"),
        ({"rules": ()}, "lifecycle_uploads", "no rule ends uploads", '"Prefix":"lake/"'),
        ({"rules": (Rule("u", "other/", uploads=7),)}, "lifecycle_uploads", "no rule ends uploads", "DaysAfterInitiation"),
        ({"rules": (Rule("u", uploads=7, narrowed=True),)}, "lifecycle_uploads", "no rule ends uploads", "DaysAfterInitiation"),
        ({"rules": (Rule("e", expires=90),)}, "lifecycle_expiry", "rule 'e' expires objects after 90 days, they are needed for up to 338",
         "the purge's work"),
        ({"rules": (Rule("e", "lake/requests/", expires=337),)}, "lifecycle_expiry", "after 337 days", "lifecycle"),
        ({"rules": (Rule("d", dated=True),)}, "lifecycle_expiry", "on a date", "lifecycle"),
        ({"rules": (Rule("c", cold=True),)}, "lifecycle_expiry", "cannot read", "lifecycle"),
        ({"rules": (Rule("n", noncurrent=900),)}, "lifecycle_versions", "for 900 days, the limit is 365", "NoncurrentDays"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_bucket_is_found(facts: dict[str, Any], name: str, detail: str, remedy: str) -> None:
    check = of_bucket(**facts)[name]
    assert check.ok is False
    assert detail in check.detail
    assert remedy in check.remedy


def test_rules_that_fit_the_policy_pass() -> None:
    fitting = (
        Rule("e", expires=338),
        Rule("n", noncurrent=30),
        Rule("far", "other/", expires=1, noncurrent=9000, dated=True),
        ENDS_UPLOADS,
    )
    checks = of_bucket(rules=fitting)
    assert [checks[name].ok for name in ("lifecycle_expiry", "lifecycle_versions", "lifecycle_uploads")] == [True, True, True]


def test_the_limits_of_every_stream_count() -> None:
    """An object is needed as long as the longest limit says, and a version may stay as long as the shortest does."""
    rules = (Rule("e", expires=338), Rule("n", noncurrent=31), ENDS_UPLOADS)
    long = StreamPolicy("contracts", Period(months=1), Period(months=84), Period(months=1))
    checks = of_bucket(policies=(POLICY, SHORT, long), rules=rules)
    assert "needed for up to 2534" in checks["lifecycle_expiry"].detail
    assert "for 31 days, the limit is 30" in checks["lifecycle_versions"].detail


def test_uploads_of_a_job_under_way_are_not_judged() -> None:
    assert of_bucket(busy=True, uploads=2)["incomplete_uploads"].ok is None


def test_credentials_that_may_not_list_buckets_see_no_more_than_they_need() -> None:
    assert of_bucket(others=Unknown("the credentials lack s3:ListAllMyBuckets"))["credentials_excess"].ok is True
    assert of_bucket(others=Unknown("no answer: ReadTimeoutError"))["credentials_excess"].ok is None


def test_a_bucket_out_of_reach_fails() -> None:
    (check,) = unreachable("bucket logs cannot be reached", "check the network")
    assert check == Check("bucket", False, "bucket logs cannot be reached", "check the network")


@pytest.mark.parametrize(
    ("facts", "name", "detail", "remedy"),
    [
        ({"free": 1 << 29, "total": 1 << 30}, "disk", "0.5 GiB free, 50%", "make room"),
        ({"free": 2 << 30, "total": 100 << 30}, "disk", "2.0 GiB free, 2%", "make room"),
        ({"modes": {"data": 0o750, "k": 0o600}}, "permissions", "data (mode 750)", "chmod go-rwx data"),
        ({"key_beside": True}, "master_key", "lies beside the archive", "master_key_file"),
        ({"databases": {"city": "2026-05-24"}}, "geoip_city", "184 days ago", "auditlake run geoip"),
        ({"databases": {"asn": "GeoIP database 'x' does not exist"}}, "geoip_asn", "does not exist", "asn_url"),
        ({"red": {"purge": "missed, last success never"}}, "nights", "purge missed", "auditlake status"),
        ({"overdue": {"requests": 2, "mail": 0}}, "limits", "2 days of requests are beyond their limit", "auditlake run purge"),
        ({"residue": 3}, "residue", "3 things", "auditlake verify"),
        ({"rejected_lines": 7, "rejected_oldest": dt.date(2026, 10, 1), "rejected_late": 2}, "quarantine",
         "7 rejected lines, the oldest 54 days old; 2 days", "auditlake run purge"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_machine_is_found(facts: dict[str, Any], name: str, detail: str, remedy: str) -> None:
    check = of_machine(**facts)[name]
    assert check.ok is False
    assert detail in check.detail
    assert remedy in check.remedy


def test_what_the_machine_cannot_tell_is_not_known() -> None:
    assert of_machine(serving=False)["server"].ok is None
    assert of_machine(databases={"city": "unknown"})["geoip_city"].ok is None
    assert of_machine()["backup"].ok is None
    assert of_machine(key="")["master_key"] == Check("master_key", True, "comes from the environment")
    young = of_machine(rejected_lines=7, rejected_oldest=dt.date(2026, 11, 20))["quarantine"]
    assert (young.ok, young.remedy) == (True, "")
