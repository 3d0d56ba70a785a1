"""The sources of the settings that the server reads by itself: files that are followed, and objects of a bucket."""

from collections.abc import Callable

from auditlake.console import say
from auditlake.intake import ingest_options
from auditlake.serve_settings import SourceSettings
from auditlake.settings import Settings, size_bytes
from auditlake.writer import Feed
from core.clock import WallClock
from jobs.bucket import BucketFeed
from jobs.tail import Count, FollowFeed
from storage.incoming import Bucket, Queue, reached
from storage.objects import split_s3

__all__ = ["feeds"]


def feeds(settings: Settings, count: Count) -> list[Feed]:
    """One feed for each source of these kinds.

    :param count: is told of lines by source, format and what became of them.
    :raises UsageError: a format cannot be had.
    """
    made: dict[str, Callable[[Settings, SourceSettings, Count], Feed]] = {"follow": _follow, "s3": _bucket}
    return [made[source.kind](settings, source, count) for source in settings.sources if source.kind in made]


def _follow(settings: Settings, source: SourceSettings, count: Count) -> Feed:
    options = ingest_options(settings, source.format, source.stream, source.timezone)
    return FollowFeed(source.name, source.paths, options, WallClock(), say, count, source.pause)


def _bucket(settings: Settings, source: SourceSettings, count: Count) -> Feed:
    options = ingest_options(settings, source.format, source.stream, source.timezone)
    bucket, prefix = split_s3(source.url)
    access = reached(source.endpoint, source.region, source.path_style)
    place = Bucket(bucket, prefix + "/" * bool(prefix and source.url.endswith("/")), access, size_bytes(source.max_object))
    queue = Queue(source.queue, access) if source.queue else None
    return BucketFeed(source.name, place, queue, options, WallClock(), say, count, source.pause)
