"""The client's address of a request: X-Forwarded-For counts only from trusted proxies."""

import ipaddress
import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import blobs, wait
from harness.client import get
from harness.edge import Edge
from harness.gunicorn import Gunicorn
from harness.ports import HAS_IPV6, free_port
from ipgeo.errors import SettingError
from ipgeo_fallback.forwarded import Forwarded
from ipgeo_fallback.settings import Settings

QUERY = f"/api/ip_query?ip={blobs.ATLANTIS_IP}"
UNIX = ""
SIZES = range(8180, 8200)
"""Lengths of a header's line about that of nginx's buffer."""

TRUSTED = Settings.from_environment(
    {"IPGEO_TRUSTED_PROXIES": "10.0.0.0/8, 192.0.2.1,fd00::/8 ,::1"}
).trusted_proxies


def client_of(peer: str, header: str | None) -> str:
    """The REMOTE_ADDR of the application, and of the access log after it."""
    environ = {"REMOTE_ADDR": peer}
    if header is not None:
        environ["HTTP_X_FORWARDED_FOR"] = header

    def app(_environ: dict[str, object], _start: object) -> Iterable[bytes]:
        return ()

    Forwarded(app, TRUSTED)(environ, lambda *_: lambda _: None)
    return environ["REMOTE_ADDR"]


@pytest.mark.parametrize(
    ("peer", "header", "client"),
    [
        (UNIX, None, ""),
        (UNIX, "", ""),
        (UNIX, "1.2.3.4", "1.2.3.4"),
        (UNIX, "2001:DB8::1", "2001:db8::1"),
        (UNIX, "5.5.5.5, 1.2.3.4", "1.2.3.4"),
        (UNIX, "5.5.5.5, 1.2.3.4, 10.1.1.1,\t192.0.2.1", "1.2.3.4"),
        (UNIX, "10.1.1.1, 10.2.2.2", "10.1.1.1"),
        (UNIX, "1.2.3.4,10.9.9.9", "1.2.3.4"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "1.2.3.4", "1.2.3.4"),
        ("fd00::7", "1.2.3.4", "1.2.3.4"),
        ("fd00::7%eth0", "1.2.3.4", "1.2.3.4"),
        ("::1", "1.2.3.4", "1.2.3.4"),
        ("127.0.0.1", "1.2.3.4", "127.0.0.1"),
        ("11.0.0.1", "1.2.3.4", "11.0.0.1"),
        ("192.0.2.2", "1.2.3.4", "192.0.2.2"),
        ("2001:db8::1", "1.2.3.4", "2001:db8::1"),
        ("::ffff:10.0.0.1", "1.2.3.4", "1.2.3.4"),
        ("::ffff:11.0.0.1", "1.2.3.4", "11.0.0.1"),
        ("10.0.0.1", "::ffff:1.2.3.4", "1.2.3.4"),
        ("10.0.0.1", "1.2.3.4, ::ffff:10.0.0.2", "1.2.3.4"),
        # The walk ends at an entry that is not an address.
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "1.2.3.4, unknown", "10.0.0.1"),
        ("10.0.0.1", "1.2.3.4, unknown, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "1.2.3.4,", "10.0.0.1"),
        ("10.0.0.1", "1.2.3.4,,10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "010.0.0.9", "10.0.0.1"),
        ("10.0.0.1", "1.2.3.4:80", "10.0.0.1"),
        ("10.0.0.1", "16909060", "10.0.0.1"),
        ("10.0.0.1", "1.2.3.4 5.6.7.8", "10.0.0.1"),
        ("10.0.0.1", "fe80::1%\x1b[31m", "10.0.0.1"),
        ("10.0.0.1", "fe80::1%eth0", "10.0.0.1"),
    ],
)
def test_the_client(peer: str, header: str | None, client: str) -> None:
    assert client_of(peer, header) == client


@given(
    st.lists(st.sampled_from(["10.0.0.1", "::1", "1.2.3.4", "::ffff:10.0.0.1", ""]) | st.text()),
    st.sampled_from(["", "10.0.0.1", "1.2.3.4", "fe80::1%eth0"]),
)
def test_any_header_gives_an_address(entries: list[str], peer: str) -> None:
    client = client_of(peer, ",".join(entries))
    if client or peer:
        assert client == str(ipaddress.ip_address(client))


@pytest.mark.parametrize("header", ["," * 10_000, "x" * 10_000, "1.2.3.4," * 2000, " " * 10_000])
def test_a_hostile_header_is_ignored(header: str) -> None:
    assert client_of("10.0.0.1", header) == "10.0.0.1"


# The setting


@pytest.mark.parametrize(
    ("text", "networks"),
    [
        ("127.0.0.1", ["127.0.0.1/32"]),
        ("::1", ["::1/128"]),
        ("10.0.0.0/8,fd00::/8", ["10.0.0.0/8", "fd00::/8"]),
        (" 10.0.0.0/8 , ::1 ", ["10.0.0.0/8", "::1/128"]),
        ("10.1.2.3/8", ["10.0.0.0/8"]),
        ("0.0.0.0/0", ["0.0.0.0/0"]),
    ],
)
def test_trusted_proxies(text: str, networks: list[str]) -> None:
    settings = Settings.from_environment({"IPGEO_TRUSTED_PROXIES": text})
    assert [str(network) for network in settings.trusted_proxies] == networks


@pytest.mark.parametrize("unset", [{}, {"IPGEO_TRUSTED_PROXIES": ""}])
def test_no_proxy_is_trusted_by_default(unset: dict[str, str]) -> None:
    assert Settings.from_environment(unset).trusted_proxies == ()


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("10.0.0.0/33", "10.0.0.0/33"),
        ("10.0.0.1,localhost,::1", "localhost"),
        ("10.0.0.1,", ""),
        (",", ""),
        (" ", ""),
        ("10.0.0.0/255.0.0.0", "10.0.0.0/255.0.0.0"),
        ("10.0.0", "10.0.0"),
        ("010.0.0.1", "010.0.0.1"),
        ("unix:", "unix:"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("10.0.0.1 10.0.0.2", "10.0.0.1 10.0.0.2"),
        ("::/129", "::/129"),
        ("1.2.3.٤", "1.2.3.٤"),
    ],
)
def test_invalid_trusted_proxies_are_refused(text: str, entry: str) -> None:
    problem = f": '{entry}' is neither an address nor a network such as 10.0.0.0/8"
    if not entry:
        problem = f" has an empty entry: '{text}'"
    with pytest.raises(SettingError, match=f"^IPGEO_TRUSTED_PROXIES{re.escape(problem)}$"):
        Settings.from_environment({"IPGEO_TRUSTED_PROXIES": text})


# In the logs


def clients(log: Path, requests: int) -> list[str]:
    """The first column of an access log that gets so many lines."""

    def lines() -> list[str]:
        return log.read_text().splitlines() if log.exists() else []

    wait.until(lambda: len(lines()) >= requests, f"{requests} lines in {log.name}")
    return [line.partition(" ")[0] for line in lines()]


@pytest.mark.parametrize(
    ("trusted", "by_tcp"),
    [("", "127.0.0.1"), ("10.0.0.0/8", "127.0.0.1"), ("10.0.0.0/8,127.0.0.0/8", "9.8.7.6")],
)
def test_which_peers_gunicorn_trusts(folder: Path, blob: Path, trusted: str, by_tcp: str) -> None:
    log = folder / "gunicorn-access.log"
    with Gunicorn(
        folder,
        blob,
        IPGEO_FALLBACK_BIND=f"127.0.0.1:{free_port()},unix:{folder}/fallback.sock",
        IPGEO_FALLBACK_ACCESS_LOG=log,
        IPGEO_TRUSTED_PROXIES=trusted,
    ) as server:
        before = len(clients(log, 1))
        for address in server.addresses:
            assert get(address, QUERY).status == 200
            assert get(address, QUERY, "X-Forwarded-For: 9.8.7.6").status == 200
            assert get(address, "/nothing", "X-Forwarded-For: 9.8.7.6").status == 404
        seen = clients(log, before + 6)[before:]
    assert seen == ["127.0.0.1", by_tcp, by_tcp, "-", "9.8.7.6", "9.8.7.6"]


def test_several_headers_are_one_list(folder: Path, blob: Path) -> None:
    log = folder / "gunicorn-access.log"
    with Gunicorn(folder, blob, IPGEO_FALLBACK_ACCESS_LOG=log) as server:
        before = len(clients(log, 1))
        headers = (
            "X-Forwarded-For: 1.1.1.1",
            "x-forwarded-for: 9.8.7.6",
            "X_Forwarded_For: 2.2.2.2",
        )
        assert get(server.address, QUERY, *headers).status == 200
        assert clients(log, before + 1)[before:] == ["9.8.7.6"]


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("," * 8_000, 200),
        ("forged, " * 1000, 200),
        ("fe80::1%\xa0forged", 200),
        ("forged\x1b[31m", 400),
        ("forged, " * 10_000, 400),
    ],
)
def test_nothing_of_a_hostile_header_is_logged(
    folder: Path, blob: Path, value: str, status: int
) -> None:
    log = folder / "gunicorn-access.log"
    with Gunicorn(folder, blob, IPGEO_FALLBACK_ACCESS_LOG=log) as server:
        assert get(server.address, QUERY, f"X-Forwarded-For: {value}").status == status
        assert get(server.address, "/readyz").status == 200
        wait.until(lambda: "/readyz" in log.read_text(), "the next request is logged")
        assert set(clients(log, 1)) == {"-"}
        logged = log.read_text() + server.output.text()
        assert not re.search(r"\x1b|forged|,,|1\.2\.3\.4", logged)


def test_the_longest_header_that_nginx_takes(folder: Path, blob: Path) -> None:
    with (
        Gunicorn(folder, blob),
        Edge(folder, folder / "none.blob", None) as edge,
    ):
        sizes = {size: get(edge.address, QUERY, "X: ".ljust(size, "x")).status for size in SIZES}
    assert set(sizes.values()) == {200, 400}, sizes


@pytest.mark.parametrize(("trusted", "client"), [("", "127.0.0.1"), ("127.0.0.1", "9.8.7.6")])
def test_nginx_and_gunicorn_agree(folder: Path, blob: Path, trusted: str, client: str) -> None:
    """An edge without a blob passes the request on: both log the same client."""
    log = folder / "gunicorn-access.log"
    settings = {"IPGEO_TRUSTED_PROXIES": trusted}
    with (
        Gunicorn(folder, blob, IPGEO_FALLBACK_ACCESS_LOG=log, **settings),
        Edge(folder, folder / "none.blob", None, **settings) as edge,
    ):
        before = [len(clients(path, 1)) for path in (log, edge.access_log)]
        reply = get(edge.address, QUERY, "X-Forwarded-For: 9.8.7.6")
        assert (reply.status, reply.headers["x-ipgeo-served-by"]) == (200, "fallback")
        assert clients(log, before[0] + 1)[before[0] :] == [client]
        assert clients(edge.access_log, before[1] + 1)[before[1] :] == [client]


FORWARDED = {
    "2001:DB8:0::7": "2001:db8::7",
    "1.2.3.4": "1.2.3.4",
    "2001:db8::8, 2001:db8::7, fd00::1": "2001:db8::7",
    "2001:db8::7, unknown": "::1",
}
"""The header's value, and the client that it names if ::1 and fd00::/8 are trusted."""


@pytest.mark.skipif(not HAS_IPV6, reason="no IPv6 here")
@pytest.mark.parametrize("trusted", ["127.0.0.1", "::1,fd00::/8"])
def test_a_client_of_ipv6_is_logged(folder: Path, blob: Path, trusted: str) -> None:
    """By an edge, and by the fallback that it asks."""
    log = folder / "gunicorn-access.log"
    settings = {"IPGEO_TRUSTED_PROXIES": trusted}
    with (
        Gunicorn(folder, blob, IPGEO_FALLBACK_ACCESS_LOG=log, **settings),
        Edge(folder, folder / "none.blob", None, IPGEO_BIND="::1", **settings) as edge,
    ):
        before = {path: len(clients(path, 1)) for path in (log, edge.access_log)}
        for header in FORWARDED:
            reply = get(edge.address, QUERY, f"X-Forwarded-For: {header}")
            assert (reply.status, reply.headers["x-ipgeo-served-by"]) == (200, "fallback")
        named = [client if "::1" in trusted else "::1" for client in FORWARDED.values()]
        for path, count in before.items():
            assert sorted(clients(path, count + len(named))[count:]) == sorted(named)
