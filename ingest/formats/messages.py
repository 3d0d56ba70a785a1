"""What wrappers share: messages as lines, and messages that were split over several lines put together."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.formats.base import State
from ingest.formats.template import Mask
from ingest.formats.values import json_object, spans_of
from ingest.formats.verdicts import Verdicts
from ingest.lines import Lines

__all__ = ["EMPTY", "LONGEST", "as_lines", "joined_parts", "labels_of", "reject_impossible"]

LONGEST = 1 << 20
"""Bytes of a message put together; a longer one is rejected."""
EMPTY = "the message is empty"
_TOO_LONG = f"split message longer than {LONGEST} bytes"


def as_lines(messages: pa.StringArray) -> Lines:
    """Messages, none null, as lines of a buffer of their own, a newline after each."""
    data, span = spans_of(pc.binary_join_element_wise(messages, "", "\n"))
    return Lines(data, span.starts, span.ends - 1)


def reject_impossible(messages: pa.StringArray, verdicts: Verdicts) -> None:
    """Set aside what no line can be: null, empty, or with a newline or NUL within."""
    filled = pc.fill_null(messages, "")
    verdicts.reject(np.array(pc.is_null(messages), np.bool_), "no message in it")
    verdicts.reject(np.array(pc.equal(pc.binary_length(filled), 0), np.bool_), EMPTY)
    verdicts.reject(np.array(pc.match_substring_regex(filled, r"[\n\x00]"), np.bool_), "the message holds a newline or NUL byte")


def labels_of(wrapper: str, parts: dict[str, pa.StringArray]) -> pa.StringArray:
    """What a wrapper says beside each message; null and empty things left out."""
    return json_object({f"{wrapper}.{name}": pc.if_else(pc.equal(values, ""), None, values) for name, values in parts.items()})


def joined_parts(
    messages: pa.StringArray, whole: Mask, streams: pa.StringArray, verdicts: Verdicts, state: State
) -> tuple[pa.Array, State]:
    """Messages put together.

    :param messages: what each line carries; only those of lines that are good count.
    :param whole: whether a line ends its message; the others are eventless.
    :param streams: parts are of one message when they are of one stream; few different ones, for the state holds parts of each.
    :param state: the parts that are open; a tuple of (stream, text, whether too long).
    :returns: the messages with the last part of each replaced by all of it, and the state.
    """
    verdicts_good = verdicts.good
    parts = verdicts_good & ~whole
    if not parts.any() and not state:
        return messages, None
    pending = {stream: _Growing([held], len(held), long) for stream, held, long in state or ()}
    replaced: dict[int, str] = {}
    too_long = np.zeros(len(messages), np.bool_)
    for stream in pc.unique(streams).to_pylist():
        own = np.flatnonzero(verdicts_good & np.array(pc.fill_null(pc.equal(streams, stream), False), np.bool_))
        follows = np.concatenate(([stream in pending], parts[own][:-1])).astype(np.bool_)
        for number in own[parts[own] | follows].tolist():
            growing = pending.setdefault(stream, _Growing([]))
            growing.add(messages[number].as_py())
            if not parts[number]:
                replaced[number], too_long[number] = growing.text, pending.pop(stream).long
    verdicts.reject(too_long, _TOO_LONG)
    verdicts.pass_over(parts)
    return _with(messages, replaced), tuple((stream, one.text, one.long) for stream, one in sorted(pending.items())) or None


@dataclass
class _Growing:
    """A message while its parts come: put together once, for there may be a million of them."""

    parts: list[str]
    length: int = 0
    long: bool = False

    def add(self, more: str) -> None:
        self.length += len(more)
        self.long |= self.length > LONGEST
        if not self.long:
            self.parts.append(more)

    @property
    def text(self) -> str:
        return "".join(self.parts)


def _with(messages: pa.StringArray, replaced: dict[int, str]) -> pa.StringArray:
    if not replaced:
        return messages
    mask = np.zeros(len(messages), np.bool_)
    mask[list(replaced)] = True
    return pc.replace_with_mask(messages, pa.array(mask), pa.array([replaced[number] for number in sorted(replaced)], pa.string()))
