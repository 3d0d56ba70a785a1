"""Is the place fit for the promises? Rules over facts, without a look at anything: each says what is so, and what would mend it.

A check is well (``True``), not (``False``), or not known (``None``): what could not be looked at never counts as passed. Rules for a
bucket follow from what a purge must be able to do: destroy every version of an object on the night on which its day is due, and not
before.
"""

import datetime as dt
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from core.policy import StreamPolicy
from storage.bucket_facts import BucketFacts, Lock, Rule, Unknown

__all__ = ["Check", "LocalFacts", "bucket_checks", "local_checks", "unreachable"]

_SKEW_SECONDS = 60.0
_GEOIP_DAYS = 183
_FREE_BYTES = 1 << 30
_FREE_SHARE = 0.05


@dataclass(frozen=True)
class Check:
    """One check: its name, whether it is well (``None``: not known), what was found, and what mends it (empty when nothing needs to)."""

    name: str
    ok: bool | None
    detail: str
    remedy: str = ""


@dataclass(frozen=True)
class LocalFacts:
    """What is known of this machine and of the data directory.

    :param modes: permission bits of folders and files that nobody else should read, by path.
    :param free: bytes of disk, :param total: likewise.
    :param databases: build date of each GeoIP database that is configured, by kind; what is wrong with it when it is no date.
    :param key: where the master key is; empty when it comes from the environment.
    :param key_beside: whether it lies in one folder with the archive.
    :param now: of the data directory's clock.
    :param rejected_lines: how many there are, :param rejected_oldest: the oldest day of them, :param rejected_late: how many days of
        them are beyond their limit though nothing holds them.
    :param serving: whether a server runs.
    :param red: what is wrong with jobs that failed or were missed; :param overdue: days by stream that a purge should have destroyed.
    :param residue: things that a purge could not destroy.
    """

    modes: Mapping[str, int]
    free: int
    total: int
    databases: Mapping[str, str]
    key: str
    key_beside: bool
    now: dt.datetime
    rejected_lines: int
    rejected_oldest: dt.date | None
    rejected_late: int
    serving: bool
    red: Mapping[str, str]
    overdue: Mapping[str, int]
    residue: int


def unreachable(problem: str, hint: str) -> list[Check]:
    """When the bucket does not answer, nothing of it is known."""
    return [Check("bucket", False, problem, hint)]


def bucket_checks(found: BucketFacts, policies: Collection[StreamPolicy], busy: bool) -> list[Check]:
    """Every check of a bucket.

    :param policies: of the streams whose days are archived there.
    :param busy: whether a process is changing the data directory, which may have uploads open.
    """
    return [
        Check("bucket", True, f"{found.bucket} answers"),
        _encryption(found),
        _versioning(found),
        *_public(found),
        *_lifecycle(found, policies),
        _uploads(found, busy),
        _lock(found),
        *_credentials(found),
        _clock(found),
    ]


def local_checks(found: LocalFacts) -> list[Check]:
    """Every check of the machine and the data directory."""
    return [_disk(found), _permissions(found), _key(found), *_geoip(found), _backup(), _quarantine(found), *_nights(found)]


def _not_known(name: str, value: Unknown, remedy: str) -> Check:
    return Check(name, None, f"not known: {value.reason}", remedy)


def _encryption(found: BucketFacts) -> Check:
    rule = '{"Rules":[{"ApplyServerSideEncryptionByDefault":{"SSEAlgorithm":"AES256"}}]}'
    remedy = f"aws s3api put-bucket-encryption --bucket {found.bucket} --server-side-encryption-configuration '{rule}'"
    if isinstance(found.encryption, Unknown):
        return _not_known("encryption", found.encryption, "ask whoever owns the bucket, or allow s3:GetEncryptionConfiguration")
    if found.encryption:
        return Check("encryption", True, f"objects are encrypted by default: {found.encryption}")
    return Check("encryption", False, "objects are not encrypted by default", remedy)


def _versioning(found: BucketFacts) -> Check:
    remedy = f"aws s3api put-bucket-versioning --bucket {found.bucket} --versioning-configuration Status=Enabled"
    if isinstance(found.versioning, Unknown):
        return _not_known("versioning", found.versioning, "allow s3:GetBucketVersioning")
    if found.versioning == "Enabled":
        return Check("versioning", True, "on; a purge destroys every version")
    state = found.versioning.lower() or "never switched on"
    return Check("versioning", False, f"{state}: an object that is overwritten or deleted by mistake cannot be had back", remedy)


def _public(found: BucketFacts) -> Iterator[Check]:
    remedy = (
        f"aws s3api put-public-access-block --bucket {found.bucket} --public-access-block-configuration "
        "BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true"
    )
    if isinstance(found.open_blocks, Unknown):
        yield _not_known("public_access_block", found.open_blocks, "see to it that no policy and no list opens the bucket")
    else:
        off = ", ".join(found.open_blocks)
        yield Check("public_access_block", not off, f"off: {off}" if off else "all four blocks are on", remedy if off else "")
    if isinstance(found.public, Unknown):
        yield _not_known("public_policy", found.public, "allow s3:GetBucketPolicyStatus")
    else:
        text = "the bucket's policy opens it to everybody" if found.public else "no policy opens it to everybody"
        yield Check(
            "public_policy", not found.public, text, f"aws s3api delete-bucket-policy --bucket {found.bucket}" if found.public else ""
        )


def _lifecycle(found: BucketFacts, policies: Collection[StreamPolicy]) -> Iterator[Check]:
    if isinstance(found.rules, Unknown):
        for name in ("lifecycle_expiry", "lifecycle_versions", "lifecycle_uploads"):
            yield _not_known(name, found.rules, "allow s3:GetLifecycleConfiguration")
        return
    rules = [rule for rule in found.rules if _touches(rule, found.prefix)]
    early = [text for rule in rules for text in _too_early(rule, policies)]
    mend = f"aws s3api get-bucket-lifecycle-configuration --bucket {found.bucket}, then put it back without "
    yield Check(
        "lifecycle_expiry",
        not early,
        "; ".join(early) or "no rule takes an object away before its limit",
        f"{mend}what the rule says of current objects: destroying is the purge's work" if early else "",
    )
    shortest = min((policy.keep.lower_days for policy in policies), default=0)
    late = [f"rule {rule.name!r} keeps noncurrent versions for {rule.noncurrent} days, the limit is {shortest}" for rule in rules
            if rule.noncurrent is not None and rule.noncurrent > shortest]  # fmt: skip
    yield Check(
        "lifecycle_versions",
        not late,
        "; ".join(late) or "no rule keeps a version past the limit",
        f"{mend}the longer NoncurrentDays" if late else "",
    )
    yield _abandoned(found, rules)


def _abandoned(found: BucketFacts, rules: list[Rule]) -> Check:
    days = [rule.uploads for rule in rules if rule.uploads is not None and not rule.narrowed and found.prefix.startswith(rule.prefix)]
    if days:
        return Check("lifecycle_uploads", True, f"uploads that are not completed end after {min(days)} days")
    prefix = f"{found.prefix}/" if found.prefix else ""
    ends = '"AbortIncompleteMultipartUpload":{"DaysAfterInitiation":7}'
    rule = f'{{"ID":"uploads","Status":"Enabled","Filter":{{"Prefix":"{prefix}"}},{ends}}}'
    return Check("lifecycle_uploads", False, "no rule ends uploads that are not completed", f"add to the bucket's lifecycle rules: {rule}")


def _touches(rule: Rule, prefix: str) -> bool:
    return prefix.startswith(rule.prefix) or rule.prefix.startswith(prefix)


def _too_early(rule: Rule, policies: Collection[StreamPolicy]) -> Iterator[str]:
    """An object is as old as its day at most, less the time that the day was hot."""
    needed = max((policy.keep.upper_days - policy.hot.lower_days for policy in policies), default=0)
    if rule.dated:
        yield f"rule {rule.name!r} expires objects on a date"
    if rule.expires is not None and rule.expires < needed:
        yield f"rule {rule.name!r} expires objects after {rule.expires} days, they are needed for up to {needed}"
    if rule.cold:
        yield f"rule {rule.name!r} moves objects to where queries cannot read them"


def _uploads(found: BucketFacts, busy: bool) -> Check:
    if isinstance(found.uploads, Unknown):
        return _not_known("incomplete_uploads", found.uploads, "allow s3:ListBucketMultipartUploads, which a purge needs too")
    if not found.uploads:
        return Check("incomplete_uploads", True, "none")
    if busy:
        return Check("incomplete_uploads", None, f"{found.uploads}; a process is at work, they may be its own", "look again later")
    return Check("incomplete_uploads", False, f"{found.uploads} are left below the archive", "auditlake run upkeep")


def _lock(found: BucketFacts) -> Check:
    if isinstance(found.lock, Unknown):
        return _not_known("object_lock", found.lock, "see to it that the bucket has no default retention")
    if isinstance(found.lock, Lock):
        return Check(
            "object_lock",
            False,
            f"every new object is locked for {found.lock.days} days ({found.lock.mode}): one that is written shortly before its "
            "day's limit cannot be destroyed in time",
            f"aws s3api put-object-lock-configuration --bucket {found.bucket} --object-lock-configuration ObjectLockEnabled=Enabled",
        )
    return Check("object_lock", True, "no default retention keeps an object from being destroyed")


def _credentials(found: BucketFacts) -> Iterator[Check]:
    if isinstance(found.listed, Unknown):
        denied = found.listed.reason.startswith("the credentials lack")
        remedy = "give the policy of the README, section Archive on S3"
        yield Check("credentials_needed", False if denied else None, found.listed.reason, remedy)
    else:
        text = "versions can be listed; whether they may be destroyed is not tried here: a purge that may not says so"
        yield Check("credentials_needed", True, text)
    if isinstance(found.others, Unknown):
        told = found.others.reason == "the credentials lack s3:ListAllMyBuckets"
        yield Check(
            "credentials_excess", True if told else None, "no other bucket can be seen" if told else f"not known: {found.others.reason}"
        )
    else:
        text = f"{found.others} other buckets can be seen" if found.others else "no other bucket can be seen"
        remedy = "give the server credentials of its own with the policy of the README" if found.others else ""
        yield Check("credentials_excess", not found.others, text, remedy)


def _clock(found: BucketFacts) -> Check:
    if isinstance(found.skew, Unknown):
        return _not_known("clock", found.skew, "compare it by hand: timedatectl")
    good = abs(found.skew) <= _SKEW_SECONDS
    text = f"this machine's clock is {abs(found.skew):.0f} seconds {'behind' if found.skew > 0 else 'before'} the bucket's"
    return Check("clock", good, text, "" if good else "timedatectl set-ntp true")


def _disk(found: LocalFacts) -> Check:
    share = found.free / max(1, found.total)
    good = found.free >= _FREE_BYTES and share >= _FREE_SHARE
    text = f"{found.free / 2**30:.1f} GiB free, {share:.0%} of the disk"
    return Check("disk", good, text, "" if good else "make room, or move the data directory to a larger disk")


def _permissions(found: LocalFacts) -> Check:
    opened = [f"{path} (mode {mode:o})" for path, mode in sorted(found.modes.items()) if mode & 0o077]
    remedy = f"chmod go-rwx {' '.join(path for path, mode in sorted(found.modes.items()) if mode & 0o077)}" if opened else ""
    return Check(
        "permissions", not opened, f"others may reach {', '.join(opened)}" if opened else "keys and data are the owner's alone", remedy
    )


def _key(found: LocalFacts) -> Check:
    if not found.key:
        return Check("master_key", True, "comes from the environment")
    remedy = "move it to another disk or a secret store: [keys] master_key_file, or the variable AUDITLAKE_MASTER_KEY"
    beside = f"{found.key} lies beside the archive: whoever copies the one has the other"
    return Check("master_key", not found.key_beside, beside if found.key_beside else f"{found.key}, not beside the archive",
                 remedy if found.key_beside else "")  # fmt: skip


def _geoip(found: LocalFacts) -> Iterator[Check]:
    for kind, build in found.databases.items():
        name, remedy = f"geoip_{kind}", f"set [geo] {kind} and {kind}_url, then: auditlake run geoip"
        try:
            days = max(0, (found.now.date() - dt.date.fromisoformat(build)).days)
        except ValueError:
            yield Check(name, None if build == "unknown" else False, f"not known: {build}", remedy)
            continue
        yield Check(name, days <= _GEOIP_DAYS, f"built on {build}, {days} days ago", remedy if days > _GEOIP_DAYS else "")


def _backup() -> Check:
    text = "not known: auditlake makes no copy of the control database, and does not know of yours"
    return Check("backup", None, text, "see docs/operations.md, Backups; keep a copy no longer than the data, and try to restore it")


def _quarantine(found: LocalFacts) -> Check:
    if not found.rejected_oldest:
        return Check("quarantine", True, "no rejected lines")
    days = (found.now.date() - found.rejected_oldest).days
    text = f"{found.rejected_lines} rejected lines, the oldest {days} days old; {found.rejected_late} days are beyond their limit"
    return Check("quarantine", not found.rejected_late, text, "auditlake run purge" if found.rejected_late else "")


def _nights(found: LocalFacts) -> Iterator[Check]:
    text = "a server runs" if found.serving else "no server runs: the jobs must come from cron"
    yield Check(
        "server", True if found.serving else None, text, "" if found.serving else "auditlake serve, or the cron lines of the README"
    )
    red = "; ".join(f"{job} {why}" for job, why in found.red.items())
    yield Check("nights", not red, red or "every job ran when it should", "auditlake status; auditlake serve" if red else "")
    late = "; ".join(f"{days} days of {stream} are beyond their limit" for stream, days in found.overdue.items() if days)
    yield Check("limits", not late, late or "no day is beyond its limit", "auditlake run purge" if late else "")
    text = f"{found.residue} things could not be destroyed" if found.residue else "none"
    yield Check("residue", not found.residue, text, "auditlake run purge; auditlake verify" if found.residue else "")
