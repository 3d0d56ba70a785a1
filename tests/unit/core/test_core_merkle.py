"""Merkle trees: the vectors of Certificate Transparency, and against the definitions of RFC 6962 word for word."""

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.merkle import Tree, consistency, inclusion, leaf_hash, perfect, prove, verify_consistency, verify_inclusion

# The entries and roots that Certificate Transparency's implementations are tested with: certificate-transparency,
# cpp/merkletree/merkle_tree_test.cc; the same in github.com/transparency-dev/merkle, testonly/constants.go.
ENTRIES = [
    bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION = {  # of the first entry and of the sixth, among eight: testonly/constants.go and verifier_test.go
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
}
CONSISTENCY = {
    (1, 1): [],
    (1, 8): INCLUSION[0, 8],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
sizes = st.integers(1, 70)


def some(size: int) -> list[bytes]:
    return [number.to_bytes(2, "big") for number in range(size)]


def root(entries: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962, 2.1, as it is written there."""
    if not entries:
        return hashlib.sha256(b"").digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    k = 1
    while k * 2 < len(entries):
        k *= 2
    return hashlib.sha256(b"\x01" + root(entries[:k]) + root(entries[k:])).digest()


def tree(entries: Sequence[bytes]) -> Tree:
    found = Tree()
    for entry in entries:
        found.append(entry)
    return found


@pytest.mark.parametrize("size", range(9))
def test_roots_are_those_of_certificate_transparency(size: int) -> None:
    assert tree(ENTRIES[:size]).root().hex() == ROOTS[size]


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_inclusion_proofs_are_those_of_certificate_transparency(index: int, size: int) -> None:
    proof = prove(ENTRIES, inclusion(index, size))
    assert [node.hex() for node in proof] == INCLUSION[index, size]
    assert verify_inclusion(leaf_hash(ENTRIES[index]), index, size, proof, bytes.fromhex(ROOTS[size]))


@pytest.mark.parametrize(("old", "size"), CONSISTENCY)
def test_consistency_proofs_are_those_of_certificate_transparency(old: int, size: int) -> None:
    proof = prove(ENTRIES, consistency(old, size))
    assert [node.hex() for node in proof] == CONSISTENCY[old, size]
    assert verify_consistency(old, size, proof, bytes.fromhex(ROOTS[old]), bytes.fromhex(ROOTS[size]))


@given(st.integers(0, 200))
def test_a_tree_grown_by_one_at_a_time_has_the_root_of_the_definition(size: int) -> None:
    grown = tree(some(size))
    assert (grown.size, grown.root()) == (size, root(some(size)))
    assert Tree(size, grown.peaks).root() == grown.root()


@given(sizes, st.data())
def test_every_entry_is_proved_and_nothing_else(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    entries, whole = some(size), root(some(size))
    proof = prove(iter(entries), inclusion(index, size))
    assert proof == [root(entries[first:last]) for first, last in inclusion(index, size)]
    leaf = leaf_hash(entries[index])
    assert verify_inclusion(leaf, index, size, proof, whole)
    assert not verify_inclusion(leaf_hash(b"another"), index, size, proof, whole)
    assert not verify_inclusion(leaf, index, size, [*proof, bytes(32)], whole)
    assert not verify_inclusion(leaf, index, size, proof, bytes(32))
    assert not any(verify_inclusion(leaf, other, size, proof, whole) for other in range(-1, size + 1) if other != index)
    if proof:
        turned = data.draw(st.integers(0, len(proof) - 1))
        proof[turned] = bytes([proof[turned][0] ^ 1]) + proof[turned][1:]
        assert not verify_inclusion(leaf, index, size, proof, whole)
        assert not verify_inclusion(leaf, index, size, proof[:-1], whole)


@given(sizes, st.data())
def test_a_tree_begins_with_every_smaller_one_and_no_other(size: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(0, size))
    entries = some(size)
    before, after = root(entries[:old]), root(entries)
    proof = prove(iter(entries), consistency(old, size))
    assert verify_consistency(old, size, proof, before, after)
    assert not verify_consistency(old, size, [*proof, bytes(32)], before, after)
    assert not verify_consistency(size + 1, size, proof, before, after)
    assert not verify_consistency(old, size, proof, bytes(32), after)
    if old:
        assert not verify_consistency(old, size, proof, before, bytes(32))
    if proof:
        assert not verify_consistency(old, size, proof[:-1], before, after)


@given(sizes, st.data())
def test_a_run_of_entries_is_proved_by_what_is_left_and_right_of_it(size: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, size - 1))
    last = data.draw(st.integers(first + 1, size))
    entries, right = some(size), perfect(last, size)
    known = prove(entries, [*perfect(0, first), *right])
    grown = Tree(first, known[: len(known) - len(right)])
    for entry in entries[first:last]:
        grown.append(entry)
    for (begin, end), node in zip(right, known[len(known) - len(right) :], strict=True):
        grown.join(node, end - begin)
    assert (grown.size, grown.root()) == (size, root(entries))


def test_what_cannot_be_is_refused() -> None:
    for index, size in ((3, 3), (-1, 3), (0, 0)):
        with pytest.raises(ValueError, match="there is no entry"):
            inclusion(index, size)
    with pytest.raises(ValueError, match="does not begin"):
        consistency(4, 3)
    with pytest.raises(ValueError, match="fewer entries"):
        prove(some(3), inclusion(0, 4))
    with pytest.raises(ValueError, match="not the subtrees"):
        Tree(3, [bytes(32)])
    with pytest.raises(ValueError, match="cannot follow"):
        Tree(1, [bytes(32)]).join(bytes(32), 2)
