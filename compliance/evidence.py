"""Does the ledger agree with the checkpoints that were signed over it, wherever they lie?

A ledger that was cut has fewer events than a checkpoint says; one that was rewritten has another root. Both are found as long as one copy
of one checkpoint is out of the reach of whoever did it. The signatures are checked by the functions that an auditor runs
(:mod:`compliance.verifier`).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from compliance.verifier import Fault, Keys, read_keys, read_note
from storage.checkpoints import Checkpoint, Checkpoints, Place
from storage.ledger import ChainReport
from storage.objects import ObjectStore

__all__ = ["Copy", "Kept", "gather"]

_NEWEST = 32
_DATABASE = "control database"


@dataclass(frozen=True)
class Copy:
    """A text found somewhere under the name of a checkpoint; ``None`` when it should be there and is not."""

    place: str
    name: str
    text: str | None


@dataclass(frozen=True)
class Kept:
    """The checkpoints of the control database, the copies that were read, and the public keys as the ledger tells them."""

    checkpoints: tuple[Checkpoint, ...]
    copies: tuple[Copy, ...]
    keys: tuple[dict[str, str], ...]

    @property
    def sizes(self) -> set[int]:
        """Of how many first events the root is needed."""
        texts = [*(each.note for each in self.checkpoints), *(copy.text or "" for copy in self.copies)]
        return {size for text in texts if (size := _size(text))}

    def faults(self, chain: ChainReport) -> tuple[str, ...]:
        """What does not agree with the ledger as it was read."""
        if not (self.checkpoints or self.copies):
            return ()
        try:
            keys = read_keys(self.keys)
        except Fault as fault:
            most = max(self.sizes, default=0)
            cut = (
                (f"the ledger has {chain.events} events, and a checkpoint is over {most}: the ledger was cut",)
                if most > chain.events
                else ()
            )
            return (f"signing keys in the ledger: {fault}", *cut)
        return (*self._own(chain, keys), *self._elsewhere(chain, keys))

    def _own(self, chain: ChainReport, keys: Keys) -> Iterator[str]:
        for each in self.checkpoints:
            fault = _fault(each.note, chain, keys, (each.size, each.root))
            if fault:
                yield f"checkpoint {each.name} in the {_DATABASE}: {fault}"

    def _elsewhere(self, chain: ChainReport, keys: Keys) -> Iterator[str]:
        known = {each.name: each.note for each in self.checkpoints}
        for copy in self.copies:
            where = f"checkpoint {copy.name} in the {copy.place}"
            if copy.text is None:
                yield f"{where}: it is missing"
            elif copy.text != known.get(copy.name):
                fault = _fault(copy.text, chain, keys)
                there = f"it is not the one in the {_DATABASE}" if copy.name in known else f"it is missing in the {_DATABASE}"
                yield f"{where}: {'; '.join(filter(None, (there, fault)))}"


def gather(checkpoints: Checkpoints, archive: ObjectStore, location: str, full: bool = False) -> Kept:
    """Read what there is.

    :param full: read every copy; else the newest, and those that the control database does not know.
    :raises AuditlakeError: a place cannot be listed or read.
    """
    own = tuple(checkpoints.every())
    found = [copy for place in checkpoints.places(archive, location) for copy in _copies(place, own, full)]
    return Kept(own, tuple(found), tuple(key.as_json() for key in checkpoints.keys.public()))


def _copies(place: Place, own: tuple[Checkpoint, ...], full: bool) -> Iterator[Copy]:
    there = place.names()
    known = {each.name for each in own}
    read = known if full else {each.name for each in own[-_NEWEST:]}
    for name in sorted(there - (known - read)):
        yield Copy(place.name, name, place.read(name))
    for each in own:
        if each.copied and each.name not in there:
            yield Copy(place.name, each.name, None)


def _size(text: str) -> int:
    lines = text.split("\n", 2)
    return int(lines[1]) if len(lines) == 3 and lines[1].isascii() and lines[1].isdecimal() and len(lines[1]) < 16 else 0


def _fault(text: str, chain: ChainReport, keys: Keys, named: tuple[int, str] | None = None) -> str:
    try:
        size, root = read_note(text, keys)
    except Fault as fault:
        return str(fault)
    if named and named != (size, root.hex()):
        return "what is kept beside its text is not what the text says"
    if size > chain.events:
        return f"the ledger has {chain.events} events, and it was signed over {size}: the ledger was cut"
    return "" if chain.roots.get(size) == root.hex() else f"the ledger's first {size} events are not those it was signed over"
