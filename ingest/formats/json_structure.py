"""Where the members of many JSON objects are: found by numpy in the buffer of the lines, nothing decoded.

The documents must be valid JSON objects (RFC 8259), which is what makes this simple: a quote that follows an even number of
backslashes begins or ends a string, every bracket outside strings has its partner, and a colon outside strings follows a key. So
the **tokens** (quotes, and ``{}[]:,`` outside strings) say everything; depth is a running sum over the brackets. Work and memory
are linear in the length of the buffer, whatever it holds.

Objects are entered level by level, and only where a known path leads through them: deeper ones stay one value.

Source: https://www.rfc-editor.org/rfc/rfc8259.
"""

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ingest.formats import _json_engine as engine
from ingest.formats.template import BACKSLASH, QUOTE, Mask, Span
from ingest.formats.values import text
from ingest.lines import Bytes, Lines, Numbers

__all__ = ["Members", "Pairs", "Structure"]

_OBJECT, _LIST, _END_OBJECT, _END_LIST, _COLON, _COMMA, _MINUS = b"{[}]:,-"
_LOWER = np.uint8(0x20)
"""This bit makes ``{`` of ``[`` and ``}`` of ``]``, and lower case of a letter."""
_SPACE = ord(" ")
_Depths = npt.NDArray[np.int8]
_Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Pairs:
    """A list of objects that are a key and a value, to be read as members ``path.key``.

    A value that is an object of one member (``{"stringValue": "x"}``, as OTLP writes it) stands for what that member says. Of a
    key given twice the first counts, and the whole list stays a member too. A list of any other shape is left as it is.

    :param path: dotted path of the list; :param key: name of an element's key; :param value: name of its value.
    """

    path: str
    key: str = "key"
    value: str = "value"


@dataclass(frozen=True, eq=False)
class Members:
    """Members of many objects, in the order of the documents, repeated keys included.

    :param rows: number of the document of each, ascending; :param codes: its path, a number among ``paths``.
    :param paths: the distinct dotted paths.
    :param span: its value as JSON text, without white space around, in the structure's buffer.
    :param kinds: the first byte of its value; :param entered: whether its members are members here too.
    :param escaped: whether there is a backslash in its value; of one that is entered nothing is said.
    :param colons: for :meth:`Structure.first_elements`.
    """

    rows: Numbers
    codes: _Codes
    paths: pa.StringArray
    span: Span
    kinds: Bytes
    entered: Mask
    escaped: Mask
    colons: Numbers


class Structure:
    """The tokens of many documents.

    :param lines: each a valid JSON document. Bytes between them do not count.
    """

    def __init__(self, lines: Lines) -> None:
        self.lines = _closed_up(lines)
        self.data = self.lines.data
        self.slashes = np.flatnonzero(self.data == BACKSLASH)
        tokens = np.flatnonzero(self._candidates())
        kinds = self.data[tokens]
        quotes = kinds == QUOTE
        outside = (np.bitwise_xor.accumulate(quotes.view(np.uint8)) == 0) | quotes
        self.tokens: Numbers = tokens[outside]
        self.kinds: Bytes = kinds[outside]
        folded = self.kinds | _LOWER
        self._closing = folded == _END_OBJECT
        # Beyond 127 a depth wraps around and comes back: a document that deep has passed every lesser depth, and is refused.
        self.depths: _Depths = np.cumsum((folded == _OBJECT).view(np.int8) - self._closing.view(np.int8), dtype=np.int8)

        self._closers_of: dict[int, Numbers] = {}

    def __len__(self) -> int:
        return len(self.lines)

    def _candidates(self) -> Mask:
        """Which bytes may be tokens: escaped quotes are none; brackets within strings still count."""
        found: Mask = self.data == QUOTE
        found[self._escaped()] = False
        folded = self.data | _LOWER
        for byte, where in ((_OBJECT, folded), (_END_OBJECT, folded), (_COLON, self.data), (_COMMA, self.data)):
            found |= where == byte
        return found

    def _escaped(self) -> Numbers:
        """Places of bytes that a backslash escapes and that are quotes."""
        if not len(self.slashes):
            return self.slashes
        first = np.flatnonzero(np.diff(self.slashes, prepend=-2) != 1)
        length = np.diff(first, append=len(self.slashes))
        after = (self.slashes[first] + length)[length % 2 == 1]
        quotes: Numbers = after[self.data.take(after, mode="clip") == QUOTE]
        return quotes

    def is_object(self) -> Mask:
        """Which documents are objects."""
        first = self._trimmed(self.lines.starts, self.lines.ends).starts
        return self.data.take(first, mode="clip") == _OBJECT if len(self) else np.zeros(0, np.bool_)

    def deeper_than(self, limit: int) -> Mask:
        """Which documents nest deeper."""
        deep = self.depths > limit
        return self._rows_with(self.tokens[deep]) if deep.any() else np.zeros(len(self), np.bool_)

    def looks_lenient(self) -> Mask:
        """Which documents hold what some parsers take though it is not JSON: ``NaN``, ``Infinity``, a comma before a bracket."""
        is_comma = self.kinds == _COMMA
        places = np.flatnonzero((is_comma | self._closing)[1:])
        before = self.kinds[places]
        places = places[(before == _COLON) | (before == _COMMA) | (before == _LIST)]
        span = self._trimmed(self.tokens[places] + 1, self.tokens[places + 1])
        start = np.minimum(span.starts + (self.data.take(span.starts, mode="clip") == _MINUS), span.ends)
        empty, letter = start == span.ends, self.data.take(start, mode="clip") | _LOWER
        second = self.data.take(start + 1, mode="clip") | _LOWER
        odd = ((letter == ord("n")) & (second != ord("u"))) | (letter == ord("i")) | (empty & (self.kinds[places] == _COMMA))
        return self._rows_with(self.tokens[places[odd]])

    def _rows_with(self, places: Numbers) -> Mask:
        """Which documents hold one of these places, which ascend."""
        return np.searchsorted(places, self.lines.ends) > np.searchsorted(places, self.lines.starts)

    @cached_property
    def _colons(self) -> Numbers:
        """Numbers of the tokens that are colons."""
        return np.flatnonzero(self.kinds == _COLON)

    def _closers_at(self, depth: int) -> Numbers:
        """The tokens that close what opens at that depth."""
        if depth not in self._closers_of:
            self._closers_of[depth] = np.flatnonzero(self._closing & (self.depths == depth))
        return self._closers_of[depth]

    def _closers(self, openers: Numbers, depth: int) -> Numbers:
        """The tokens that close what these tokens open; ``depth`` is that around them."""
        closers = self._closers_at(depth)
        return closers if len(closers) == len(openers) else closers[np.searchsorted(closers, openers)]

    def members(self, prefixes: pa.StringArray, pairs: tuple[Pairs, ...] = ()) -> Members:
        """The members of every document.

        :param prefixes: dotted paths of objects to enter.
        :param pairs: lists to be read as members; their paths' parents must be among the prefixes.
        """
        return _Walk(self, prefixes, pairs).run()

    def keys(self, colons: Numbers) -> pa.DictionaryArray:
        """The keys before these colons, decoded."""
        return self.strings(Span(self.tokens[colons - 2], self.tokens[colons - 1] + 1))

    def strings(self, span: Span) -> pa.DictionaryArray:
        """What string literals say; few distinct ones are expected."""
        found = text(self.data, Span(span.starts + 1, span.ends - 1)).dictionary_encode()
        escaped = pc.match_substring(found.dictionary, "\\")
        if not pc.any(escaped).as_py():
            return found
        literals = pc.binary_join_element_wise('"', found.dictionary.filter(escaped), '"', "")
        said = pc.replace_with_mask(found.dictionary, escaped, engine.string_values(literals)).dictionary_encode()
        return pa.DictionaryArray.from_arrays(said.indices.take(found.indices), said.dictionary)

    def values(self, colons: Numbers, depths: _Depths, entered: Mask) -> Span:
        """The values after these colons, which ascend; the depths are those around the colons. Of those entered only the first byte."""
        after = colons + 1
        kinds, starts = self.kinds[after], self.tokens[after]
        # Right for strings: most values are.
        ends = self.tokens.take(after + 1, mode="clip") + 1
        nested = (kinds | _LOWER) == _OBJECT
        bare = np.flatnonzero(~nested & (kinds != QUOTE))
        trimmed = self._trimmed(self.tokens[colons[bare]] + 1, starts[bare])
        starts[bare], ends[bare] = trimmed.starts, trimmed.ends
        nested &= ~entered
        for depth in _distinct(depths[nested]):
            here = np.flatnonzero(nested & (depths == depth))
            ends[here] = self.tokens[self._closers(after[here], depth)] + 1
        return Span(starts, ends)

    def _trimmed(self, starts: Numbers, ends: Numbers) -> Span:
        """Without white space at either end."""
        for _ in range(2):
            starts = starts + (_is_space(self.data.take(starts, mode="clip")) & (starts < ends))
            ends = ends - (_is_space(self.data.take(ends - 1, mode="clip")) & (starts < ends))
        wide = (_is_space(self.data.take(starts, mode="clip")) | _is_space(self.data.take(ends - 1, mode="clip"))) & (starts < ends)
        if wide.any():
            solid = np.flatnonzero(~_is_space(self.data))
            first, last = np.searchsorted(solid, starts), np.searchsorted(solid, ends) - 1
            starts = np.where(wide, np.minimum(solid.take(first, mode="clip"), ends), starts)
            ends = np.where(wide, np.maximum(solid.take(last, mode="clip") + 1, starts), ends)
        return Span(starts, ends)

    def first_elements(self, colons: Numbers) -> Span:
        """The first element of each of these lists, the values after the colons: empty when the list is, cut to its bracket when it
        is itself a list or an object."""
        opener = colons + 1
        kinds, place = self.kinds[opener + 1], self.tokens[opener + 1]
        quoted, nested = kinds == QUOTE, (kinds | _LOWER) == _OBJECT
        ends = place + nested
        ends[quoted] = self.tokens[opener[quoted] + 2] + 1
        return self._trimmed(np.where(quoted | nested, place, self.tokens[opener] + 1), ends)

    def is_single(self, colons: Numbers) -> Mask:
        """Whether the lists after the colons have at most one element; a list of lists or objects counts as having more."""
        after = colons + 2
        closer = np.where(self.kinds[after] == QUOTE, after + 2, after)
        single: Mask = self.kinds.take(closer, mode="clip") == _END_LIST
        return single


class _Walk:
    """One walk through the levels of many documents: each colon gets the code of its member's path."""

    def __init__(self, structure: Structure, prefixes: pa.StringArray, pairs: tuple[Pairs, ...]) -> None:
        self.structure, self.prefixes, self.pairs = structure, prefixes, pairs
        self.colons = structure._colons
        self.depths = structure.depths[self.colons]
        self.codes = np.full(len(self.colons), -1, np.int64)
        self.entered = np.zeros(len(self.colons), np.bool_)
        self.paths: list[pa.StringArray] = []
        self.known = 0
        self.places = np.arange(0)

    def run(self) -> Members:
        """All levels, then the members in order."""
        found = np.flatnonzero(self.depths == 1)
        parents: Numbers | None = None
        for depth in itertools.count(1):
            inside = self._level(found, parents)
            if not len(inside):
                break
            found, parents = self._inside(inside, depth)
        for pair in self.pairs:
            self._expand(pair)
        return self._members()

    def _level(self, found: Numbers, parents: Numbers | None) -> Numbers:
        """Give these colons their codes; which of them are objects to enter."""
        keys = self.structure.keys(self.colons[found])
        codes, paths = keys.indices.to_numpy().astype(np.int64), keys.dictionary
        if parents is not None:
            codes, paths = self._below(self.codes[parents], codes, paths)
        self._assign(found, codes, paths)
        leads = np.array(pc.is_in(paths, self.prefixes), np.bool_)
        after = self.structure.kinds.take(self.colons[found] + 1, mode="clip")
        inside = found[leads[codes] & (after == _OBJECT)] if len(codes) else found
        self.entered[inside] = True
        return inside

    def _below(self, parents: _Codes, codes: _Codes, keys: pa.StringArray) -> tuple[_Codes, pa.StringArray]:
        """Paths of keys within these parents."""
        cells = self._encode(parents * max(len(keys), 1) + codes)
        outer, inner = np.divmod(cells.dictionary.to_numpy(), max(len(keys), 1))
        paths = pc.binary_join_element_wise(self._all_paths().take(pa.array(outer)), keys.take(pa.array(inner)), ".")
        return cells.indices.to_numpy().astype(np.int64), paths

    def _inside(self, inside: Numbers, depth: int) -> tuple[Numbers, Numbers]:
        """Colons of the members of these objects, and for each that of its object."""
        openers = self.colons[inside] + 1
        deeper = np.flatnonzero(self.depths == depth + 1)
        closers = self.structure._closers_at(depth)
        if len(closers) == len(openers):
            # All that opens at this depth: no colon is elsewhere.
            first = np.searchsorted(self.colons[deeper], openers)
            return deeper, np.repeat(inside, np.diff(first, append=len(deeper)))
        return self._within(inside, deeper, openers, self.structure._closers(openers, depth))

    def _within(self, outer: Numbers, inner: Numbers, openers: Numbers, closers: Numbers) -> tuple[Numbers, Numbers]:
        """Those of the colons ``inner`` between the tokens ``openers`` and ``closers``, and for each which of ``outer`` it is in."""
        tokens = self.colons[inner]
        first, last = np.searchsorted(tokens, openers), np.searchsorted(tokens, closers)
        counts = last - first
        numbers = np.arange(counts.sum()) + np.repeat(first - np.concatenate(([0], np.cumsum(counts)[:-1])), counts)
        return inner[numbers], np.repeat(outer, counts)

    def _assign(self, places: Numbers, codes: Numbers, paths: pa.StringArray) -> None:
        self.codes[places] = codes + self.known
        self.paths.append(paths)
        self.known += len(paths)

    def _all_paths(self) -> pa.StringArray:
        return pa.concat_arrays(self.paths)

    @staticmethod
    def _encode(cells: Numbers) -> pa.DictionaryArray:
        return pa.array(cells).dictionary_encode()

    def _expand(self, pair: Pairs) -> None:
        """Read lists of pairs as members."""
        is_path = np.array(pc.equal(self._all_paths(), pair.path), np.bool_)
        lists = np.flatnonzero((self.codes >= 0) & is_path[self.codes]) if len(is_path) else np.arange(0)
        lists = lists[self.structure.kinds.take(self.colons[lists] + 1, mode="clip") == _LIST]
        for depth in _distinct(self.depths[lists]):
            self._expand_level(pair, lists[self.depths[lists] == depth], depth)

    def _expand_level(self, pair: Pairs, lists: Numbers, depth: int) -> None:
        openers = self.colons[lists] + 1
        closers = self.structure._closers(openers, depth)
        found, owner = self._within(np.arange(len(lists)), np.flatnonzero(self.depths == depth + 2), openers, closers)
        elements = np.flatnonzero((self.structure.kinds == _OBJECT) & (self.structure.depths == depth + 2))
        element = np.searchsorted(elements, self.colons[found]) - 1
        names = self.structure.keys(self.colons[found])
        keys, values = (np.array(pc.equal(names.dictionary, name), np.bool_) for name in (pair.key, pair.value))
        codes = names.indices.to_numpy()
        is_key = keys[codes] & (self.structure.kinds[self.colons[found] + 1] == QUOTE) if len(codes) else codes == 0
        is_value = values[codes] if len(codes) else codes == 0
        wanted = self._element_counts(openers, closers, elements, depth)
        whole = self._whole(lists, owner, element, is_key, is_value, wanted)
        self._members_of_pairs(lists, whole, found, owner, is_key, is_value)

    def _element_counts(self, openers: Numbers, closers: Numbers, elements: Numbers, depth: int) -> Numbers:
        """How many elements each list has, or -1 when not all are objects."""
        commas = np.flatnonzero((self.structure.kinds == _COMMA) & (self.structure.depths == depth + 1))
        separators = np.searchsorted(commas, closers) - np.searchsorted(commas, openers)
        objects = np.searchsorted(elements, closers) - np.searchsorted(elements, openers)
        return np.where(objects == separators + 1, objects, -1)

    def _whole(self, lists: Numbers, owner: Numbers, element: Numbers, is_key: Mask, is_value: Mask, wanted: Numbers) -> Mask:
        """Which lists have exactly one key and one value in each element: as many as elements, and none twice in one."""
        good = wanted > 0
        for which in (is_key, is_value):
            good &= np.bincount(owner[which], minlength=len(lists)) == wanted
            good[owner[which][1:][np.diff(element[which]) == 0]] = False
        return good

    def _members_of_pairs(self, lists: Numbers, whole: Mask, found: Numbers, owner: Numbers, is_key: Mask, is_value: Mask) -> None:
        keep = whole[owner] if len(owner) else np.zeros(0, np.bool_)
        key_places, value_places = found[keep & is_key], self._unwrapped(found[keep & is_value])
        if not len(key_places):
            return
        of_list = owner[keep & is_key]
        literals = self.colons[key_places]
        names = self.structure.strings(Span(self.structure.tokens[literals + 1], self.structure.tokens[literals + 2] + 1))
        cells = of_list * len(names.dictionary) + names.indices.to_numpy()
        _, first = np.unique(cells, return_index=True)
        repeated = np.ones(len(cells), np.bool_)
        repeated[first] = False
        prefix = self._all_paths()[int(self.codes[lists[0]])].as_py()
        self._assign(value_places, names.indices.to_numpy().astype(np.int64), pc.binary_join_element_wise(prefix, names.dictionary, "."))
        self.codes[value_places[repeated]] = -1
        partly = np.zeros(len(lists), np.bool_)
        partly[of_list[repeated]] = True
        self.entered[lists[whole & ~partly]] = True

    def _unwrapped(self, values: Numbers) -> Numbers:
        """For values that are objects of one member, the colon of that member."""
        kinds = self.structure.kinds
        objects = np.flatnonzero(kinds.take(self.colons[values] + 1, mode="clip") == _OBJECT)
        result = values.copy()
        for depth in _distinct(self.depths[values[objects]]):
            here = objects[self.depths[values[objects]] == depth]
            found, owner = self._inside(values[here], depth)
            counts = np.bincount(np.searchsorted(values[here], owner), minlength=len(here))
            starts = np.concatenate(([0], np.cumsum(counts)[:-1]))
            result[here[counts == 1]] = found[starts[counts == 1]]
        return result

    def _members(self) -> Members:
        places = np.flatnonzero(self.codes >= 0)
        colons = self.colons[places]
        # A path may be found at two levels, when one of its keys holds a dot.
        distinct = self._all_paths().dictionary_encode()
        codes = distinct.indices.to_numpy().astype(np.int64)[self.codes[places]]
        span = self.structure.values(colons, self.depths[places], self.entered[places])
        starts = self.structure.lines.starts
        rows = np.repeat(np.arange(len(starts)), np.diff(np.searchsorted(self.structure.tokens[colons], starts), append=len(colons)))
        kinds = self.structure.data.take(span.starts, mode="clip") if len(span.starts) else np.zeros(0, np.uint8)
        return Members(rows, codes, distinct.dictionary, span, kinds, self.entered[places], self._escaped(span), colons)

    def _escaped(self, span: Span) -> Mask:
        """Which of the spans hold a backslash: few do, so each backslash looks for its span."""
        slashes = self.structure.slashes
        found = np.zeros(len(span.starts), np.bool_)
        if len(slashes) and len(found):
            which = np.searchsorted(span.starts, slashes, side="right") - 1
            found[which[(which >= 0) & (slashes < span.ends[which])]] = True
        return found


def _distinct(depths: _Depths) -> list[int]:
    return np.flatnonzero(np.bincount(depths)).tolist()


def _is_space(found: Bytes) -> Mask:
    return found <= _SPACE


def _closed_up(lines: Lines) -> Lines:
    """The same lines with nothing but their terminators between them: copied when there is more."""
    gaps = lines.starts[1:] - lines.ends[:-1]
    if not len(lines):
        return Lines(np.zeros(0, np.uint8), lines.starts, lines.ends)
    begin, end = int(lines.starts[0]), int(lines.ends[-1])
    data = lines.data[begin:end]
    starts, ends = lines.starts - begin, lines.ends - begin
    if not len(gaps) or bool((gaps <= 2).all() and (_is_space(data[ends[:-1]]) & _is_space(data[starts[1:] - 1])).all()):
        return Lines(data, starts, ends)
    strings = text(lines.data, Span(lines.starts, lines.ends))
    joined = pc.binary_join_element_wise(strings, "\n", "")
    offsets = np.concatenate(([0], np.cumsum(ends - starts + 1)))
    copied = np.frombuffer(joined.buffers()[2], np.uint8)[: offsets[-1]]
    return Lines(copied, offsets[:-1], offsets[1:] - 1)
