"""How one source is read: its format chosen by its head, and the state of the format kept from chunk to chunk.

A later run comes to the same: it looks at the same head, and the state is that which the lines read before left.
"""

import numpy as np

from ingest.batches import Chunk, Limits
from ingest.follow import Repeated
from ingest.formats.base import Format, FormatOptions, Parsed, State, is_stateful, no_numbers, skim
from ingest.formats.detection import DETECT_LINES, Choice, UndetectedError
from ingest.formats.following import Following, choose
from ingest.formats.json_lines import JsonLines
from ingest.formats.registry import get
from ingest.lines import Lines, Numbers
from ingest.recall import Recall, head_is_full, head_lines
from ingest.sources import Reader

__all__ = ["AUTO", "UNKNOWN", "Reading", "Unseen"]

AUTO = "auto"
UNKNOWN = "unknown"
"""What lines are said to be read as of which no format has seen one."""


class Unseen:
    """The format of a source of which every line was set aside: it is shown no line."""

    name, description, source, sample = UNKNOWN, "no line was seen yet", "", ""

    def parse(self, lines: Lines, state: State = None) -> Parsed:
        """Reject every line."""
        rows = JsonLines().parse(lines.take(no_numbers())).rows
        return Parsed(rows, no_numbers(), np.arange(len(lines)), ["no format was chosen"] * len(lines), state=state)


class Reading:
    """What is known of a source while it is read.

    Call :meth:`repeated` for each range that was read before, in order; then :meth:`form` for each chunk before it is parsed,
    and set ``state`` to what its parse left.
    """

    def __init__(self, reader: Reader, name: str, options: FormatOptions, limits: Limits) -> None:
        """Look at the head of a source, which is left as it was.

        :param reader: at the source's first byte.
        :param name: of the format, or :data:`AUTO`.
        :raises UsageError: there is no such format.
        """
        self.state: State = None
        self.choice: Choice | None = None
        """Which format was chosen and why, once it is, with ``auto``."""
        self._options = options
        self._recall: Recall | None = Recall(limits)
        self._problem: UndetectedError | None = None
        self._form: Format | None = None
        self._auto = name == AUTO
        self.settled = not self._auto
        """Whether another look at the head, when the source has grown, would choose by the same lines."""
        if self._auto:
            lines, numbers = head_lines(reader, limits, DETECT_LINES)
            self.settled = len(lines) >= DETECT_LINES or head_is_full(reader)
            self._choose(lines, numbers)
        else:
            self._form = get(name, options)

    def repeated(self, event: Repeated) -> None:
        """A range that was read before: the state it left is found again, where there is one."""
        form = self._form
        if event.raw is None or self._recall is None or self._problem or not (self._auto or (form and is_stateful(form))):
            return
        whole = form is None or is_stateful(form)
        self._skim(self._recall.lines(event.raw) if whole else self._recall.brief(event.raw))

    def form(self, chunk: Chunk) -> Format:
        """The format that reads the chunk.

        :raises UndetectedError: none can be told from the source's first lines.
        """
        if self._recall is not None:
            self._skim(self._recall.open_line())
            self._recall = None
        self._choose(chunk.good, chunk.numbers + 1)
        if self._problem:
            raise self._problem
        return self._form or Unseen()

    def _choose(self, lines: Lines, numbers: Numbers) -> None:
        """Choose by these lines, if that has not been done."""
        if not len(lines) or self._problem or self._form is not None:
            return
        try:
            self.choice = choose(lines, self._options, numbers)
            self._form = Following(get(self.choice.name, self._options), self._options)
        except UndetectedError as problem:
            self._problem = problem

    def _skim(self, lines: Lines) -> None:
        self._choose(lines, np.arange(1, len(lines) + 1))
        if len(lines) and self._form is not None:
            self.state = skim(self._form, lines, self.state)
