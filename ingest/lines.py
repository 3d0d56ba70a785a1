"""Many lines in one buffer: what a format is given to parse.

Invariants: the buffer is valid UTF-8 and holds no NUL; ``starts`` and ``ends`` are int64, ascending and within the
buffer; a line's terminator (``\\n`` or ``\\r\\n``) lies outside ``[start, end)``. Lines that break these, and empty or
over-long ones, have been set aside before a format sees them (``ingest.batches``).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Bytes", "Lines", "Numbers"]

Bytes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Lines:
    """Lines of one buffer.

    :param data: the buffer, uint8[n].
    :param starts: first byte of each line, int64[lines].
    :param ends: the byte after the last of each line, int64[lines].
    """

    data: Bytes
    starts: Numbers
    ends: Numbers

    def __len__(self) -> int:
        return len(self.starts)

    def line(self, number: int) -> bytes:
        """The bytes of one line: for the slow road and for messages."""
        return self.data[self.starts[number] : self.ends[number]].tobytes()

    def take(self, numbers: Numbers) -> "Lines":
        """The lines of these numbers, over the same buffer."""
        return Lines(self.data, self.starts[numbers], self.ends[numbers])
