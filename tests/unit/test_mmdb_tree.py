"""The search tree of an MMDB, of every record size, as runs."""

from collections.abc import Mapping
from ipaddress import IPv6Network, ip_network

import pytest

from harness.mmdb import encode, mmdb
from ipgeo.errors import InputError
from ipgeo.places.location import NO_DATA
from ipgeo.sources.mmdb.reader import MmdbFile, parse

SIZES = (24, 28, 32)
VALUES = ("a", "b", "c")
DATA = b"".join(map(encode, VALUES))
IPV4 = "::/96"

Nodes = list[list[int | str | None]]


def tree(networks: Mapping[str, str], bits: int = 128) -> Nodes:
    """Nodes of networks that do not overlap: by their values, or IPV4 for an alias of its node."""
    nodes: Nodes = [[None, None]]
    for text, value in networks.items():
        network = ip_network(text)
        path = f"{int(network.network_address):0{bits}b}"[: network.prefixlen]
        number = 0
        for bit in path[:-1]:
            child = nodes[number][int(bit)]
            if not isinstance(child, int):
                nodes.append([None, None])
                child = nodes[number][int(bit)] = len(nodes) - 1
            number = child
        nodes[number][int(path[-1])] = value
    return nodes


def ipv4_node(nodes: Nodes) -> int:
    number = 0
    for _ in range(96):
        child = nodes[number][0]
        assert isinstance(child, int)
        number = child
    return number


def file(nodes: Nodes, record_size: int = 24, ip_version: int = 6) -> bytes:
    def record(child: int | str | None) -> int:
        if child is None:
            return len(nodes)
        if child == IPV4:
            return ipv4_node(nodes)
        return child if isinstance(child, int) else len(nodes) + 16 + 2 * VALUES.index(child)

    records = [(record(left), record(right)) for left, right in nodes]
    return mmdb(records, DATA, {"ip_version": ip_version}, record_size)


def answers(found: MmdbFile, family: int) -> list[tuple[int, object]]:
    runs = found.v4 if family == 4 else found.v6
    assert runs
    return [
        (first, None if number == NO_DATA else found.records[number]) for first, _, number in runs
    ]


def start(text: str) -> int:
    return int(IPv6Network(text).network_address)


@pytest.mark.parametrize("record_size", SIZES)
def test_a_tree_of_32_bits_is_ipv4_alone(record_size: int) -> None:
    networks = {"0.0.0.0/32": "a", "1.0.0.0/8": "b", "2.0.0.0/8": "b", "255.255.255.255/32": "c"}
    found = parse("file", file(tree(networks, 32), record_size, 4))
    assert found.v6 is None
    assert found.facts["records"] == 4
    assert answers(found, 4) == [
        (0, "a"),
        (1, None),
        (1 << 24, "b"),
        (3 << 24, None),
        ((1 << 32) - 1, "c"),
    ]


@pytest.mark.parametrize("record_size", SIZES)
def test_aliases_of_ipv4_are_no_data_of_ipv6(record_size: int) -> None:
    networks = {
        "::/97": "a",
        "::ffff:0:0/96": IPV4,
        "2001::/32": IPV4,
        "2001:4::/32": "a",
        "2002::/16": IPV4,
        "2003::/16": "b",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128": "c",
    }
    found = parse("file", file(tree(networks), record_size))
    assert answers(found, 4) == [(0, "a"), (1 << 31, None)]
    assert answers(found, 6) == [
        (0, None),
        (start("2001:4::/32"), "a"),
        (start("2001:5::/32"), None),
        (start("2003::/16"), "b"),
        (start("2004::/16"), None),
        ((1 << 128) - 1, "c"),
    ]
    assert found.facts["records"] == 4


def test_6to4_and_teredo_have_the_data_that_are_their_own() -> None:
    found = parse("file", file(tree({"::/96": "a", "2001::/32": "b", "2002:100::/24": "c"})))
    assert answers(found, 6) == [
        (0, None),
        (start("2001::/32"), "b"),
        (start("2001:1::/32"), None),
        (start("2002:100::/24"), "c"),
        (start("2002:200::/24"), None),
    ]


def test_a_record_above_ipv4_is_cut_into_both_families() -> None:
    networks = {"::/64": "a", "0:0:0:1::/64": "b"}
    found = parse("file", file(tree(networks)))
    assert answers(found, 4) == [(0, "a")]
    assert answers(found, 6) == [(0, None), (1 << 32, "a"), (1 << 64, "b"), (1 << 65, None)]


def test_a_record_for_ipv4_alone_is_no_data_of_ipv6() -> None:
    found = parse("file", file(tree({"::/96": "a", "::1:0:0/96": "b"})))
    assert answers(found, 4) == [(0, "a")]
    assert answers(found, 6) == [(0, None), (1 << 32, "b"), (2 << 32, None)]


def test_the_path_to_ipv4_may_end_in_no_data() -> None:
    found = parse("file", file(tree({"2000::/3": "a"})))
    assert answers(found, 4) == [(0, None)]
    assert answers(found, 6) == [(0, None), (start("2000::/3"), "a"), (start("4000::/3"), None)]


@pytest.mark.parametrize("ip_version", [4, 6])
def test_a_tree_without_nodes_has_no_data(ip_version: int) -> None:
    found = parse("file", mmdb([], metadata={"ip_version": ip_version}))
    assert list(found.v4) == [(0, (1 << 32) - 1, NO_DATA)]
    assert list(found.records) == []


def test_each_record_is_decoded_once_and_has_its_offset() -> None:
    networks = {"1.0.0.0/8": "c", "3.0.0.0/8": "a", "5.0.0.0/8": "c"}
    data = file(tree(networks, 32), 24, 4)
    found = parse("file", data)
    assert list(found.records) == ["c", "a"]
    offsets = data.index(b"\x41c"), data.index(b"\x41a")
    for number, offset in enumerate(offsets):
        assert found.records.position(number) == f"offset {offset} (record {number})"


def refusal(data: bytes) -> str:
    with pytest.raises(InputError) as caught:
        parse("file", data)
    return str(caught.value)


@pytest.mark.parametrize("record_size", SIZES)
@pytest.mark.parametrize("record", [3, 17, 18 + len(DATA), 0xFFFFFF])
def test_a_record_that_leads_nowhere_is_refused(record_size: int, record: int) -> None:
    data = mmdb([(1, 2), (2, record)], DATA, {"ip_version": 4}, record_size)
    offset = record_size // 4
    assert refusal(data).startswith(f"file: offset {offset}: record {record} of node 1 leads to no")


@pytest.mark.parametrize("ip_version", [4, 6])
@pytest.mark.parametrize("nodes", [[(0, 0)], [(1, 2), (0, 1)], [(1, 1), (1, 1)]])
def test_a_tree_without_end_is_refused(nodes: list[tuple[int, int]], ip_version: int) -> None:
    message = refusal(mmdb(nodes, DATA, {"ip_version": ip_version}))
    assert "the tree is deeper than addresses have bits" in message


def test_a_tree_that_is_too_deep_is_refused() -> None:
    deep = [(number + 1, 33) for number in range(33)]
    assert refusal(mmdb(deep, metadata={"ip_version": 4})).startswith("file: offset 192: the tree")


def test_a_tree_whose_nodes_are_shared_too_often_is_refused() -> None:
    # 2^32 networks from 32 nodes.
    shared = [(number + 1, number + 1) for number in range(31)] + [(48, 50)]
    message = refusal(mmdb(shared, DATA, {"ip_version": 4}))
    assert "the nodes are shared so often" in message


def test_a_tree_that_shares_some_nodes_is_read() -> None:
    shared = [(1, 1), (2 + 16, 2 + 18)]
    found = parse("file", mmdb(shared, DATA, {"ip_version": 4}))
    quarter = 1 << 30
    assert answers(found, 4) == [(0, "a"), (quarter, "b"), (2 * quarter, "a"), (3 * quarter, "b")]
