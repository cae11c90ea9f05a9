"""What one request costs a worker of nginx, for hostile bodies. Run it by `bench/batch`.

While Lua reads a body and answers it, the worker does no other work: its other clients wait. The
cost is the worker's CPU time, by the kernel's account, from before the request to after its
answer: Lua, and nginx's own work on the request.
"""

import statistics
from collections.abc import Iterator
from pathlib import Path

import click

from harness import blobs
from harness.client import connect, request
from harness.edge import Edge
from harness.tempdirs import short_tempdir

BODY = 65536
"""The body limit at default settings, in bytes."""

LONGEST = "2001:0db8:ffff:ffff:ffff:ffff:255.255.255.255"

PATH = "/api/ip_query"
TEXT = "Content-Type: text/plain"

Kind = tuple[str, bytes]


def filled(unit: str, head: str = "", tail: str = "") -> bytes:
    """Return HEAD, then as many times UNIT as the body limit leaves room for, then TAIL."""
    count = (BODY - len(head.encode()) - len(tail.encode())) // len(unit.encode())
    return (head + unit * count + tail).encode()


def distinct_keys() -> bytes:
    """Return an object whose keys all differ and all resemble the wanted ones."""
    members = ",".join(f'"i{number:04x}":1' for number in range(5900))
    return f"{{{members}}}".encode()


def texts() -> Iterator[Kind]:
    """Yield bodies with an address in each line."""
    yield "1000 addresses", b"255.255.255.255\n" * 1000
    yield "1000 IPv6 addresses", f"{LONGEST}\n".encode() * 1000
    yield "colons", filled(":\n")
    yield "line feeds", filled("\n")
    yield "CRLF", filled("\r\n")
    yield "carriage returns", filled("\r")
    yield "one line of digits", filled("1")
    yield "one line of dots", filled(".")
    yield "short addresses", filled("1.1.1.1\n")


def arrays() -> Iterator[Kind]:
    """Yield batches in JSON."""

    def of(element: str, tail: str = "]}") -> bytes:
        return filled(f"{element},", '{"ips":[', element + tail)

    yield "1000 addresses", ('{"ips":[' + ",".join(['"255.255.255.255"'] * 1000) + "]}").encode()
    yield (
        "1000 addresses as objects",
        ('{"format":"object","ips":[' + ",".join(['"255.255.255.255"'] * 1000) + "]}").encode(),
    )
    yield "1000 IPv6 addresses", ('{"ips":[' + ",".join([f'"{LONGEST}"'] * 1000) + "]}").encode()
    yield "numbers", of("1")
    yield "short addresses", of('"1.1.1.1"')
    yield "empty strings", of('""')
    yield "empty strings, unfinished", of('""', "")
    yield "escaped addresses", of(r'"\u0031\u002e\u0031\u002e\u0031\u002e\u0031"')
    yield "escapes", of(r'"\n"')
    yield "lone surrogates", of(r'"\ud800"')
    yield "empty arrays", of("[]")
    yield "empty objects", of("{}")
    yield "arrays 7 deep", of("[[[[[[]]]]]]")
    yield "objects 7 deep", of('{"":{"":{"":{"":{"":{}}}}}}')
    yield "alternating", of('1,"",[],{"a":1.5e1},null,"\\n","\u00e9"')
    yield "one array of numbers inside", filled("1,", '{"ips":[[', "1]]}")
    yield "one long string", filled("1", '{"ips":["', '"]}')
    yield "one long escaped string", filled(r"\u0031", '{"ips":["', '"]}')
    yield "white space", filled(" ", '{"ips":[', "]}")
    yield "commas", filled(",", '{"ips":[', "]}")
    yield "opening brackets", filled("[", '{"ips":')
    yield "beginnings", filled('"ips":[')
    yield "beginnings with a tail", filled('"ips":["', '{"', "]}")
    yield "plain and then not", filled(" ", '{"ips":["1.1.1.1"],"x":1', "x}")


def objects() -> Iterator[Kind]:
    """Yield what is no batch."""
    yield "one address", b'{"ip": "1.1.1.1"}'
    yield "an endless address", filled("1", '{"ip": "')
    yield "a long address", filled("1", '{"ip": "', '"}')
    yield "a long escaped address", filled(r"\u0031", '{"ip": "', '"}')
    yield "empty keys", filled('"":1,', "{", '"":1}')
    yield "escaped keys", filled(r'"\n":1,', "{", '"":1}')
    yield "distinct keys", distinct_keys()
    yield "wanted keys", filled('"ip":1,', "{", '"":1}')
    yield "wanted keys, escaped", filled(r'"\u0069p":1,', "{", '"":1}')
    yield "one long string", filled("a", '{"x":"', '"}')
    yield "two-byte characters", filled("\u00e9", '{"x":"', '"}')
    yield "four-byte characters", filled("\U0001f600", '{"x":"', '"}')
    yield "digits", filled("1", '{"x":', "}")
    yield "white space", filled(" ", "{", "}")
    yield "NUL", filled("\0")


def queries() -> Iterator[tuple[str, str]]:
    """Yield query strings of about 8000 bytes."""
    yield "separators", "&" * 8000
    yield "escapes in a value", "ip=" + "%31" * 2600
    yield "escapes in a name", "%69" * 2600
    yield "plus signs", "ip=" + "+" * 8000
    yield "seven separators", "&".join(["a=" + "%31" * 300] * 8)
    yield "equals signs", "ip" + "=" * 8000


def requests() -> Iterator[tuple[str, bytes]]:
    """Yield all requests, by name."""
    for form in ("array", "object"):
        for name, body in texts():
            target = f"{PATH}?format={form}"
            yield f"lines: {name}, {form}", request("POST", target, TEXT, body=body, close=False)
    for group, kinds in (("batch", arrays()), ("object", objects())):
        for name, body in kinds:
            if len(body) > BODY:
                raise RuntimeError(f"{group}: {name}: {len(body)} bytes")
            yield f"{group}: {name}", request("POST", PATH, body=body, close=False)
    for name, query in queries():
        yield f"query: {name}", request("GET", f"{PATH}?{query}", close=False)


def on_processor(pid: int) -> int:
    """Return how long a process has had a processor, in nanoseconds."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])


def costs(edge: Edge, sent: bytes, count: int) -> list[float]:
    """Return what each of ``count`` requests costs the only worker, in milliseconds."""
    (worker,) = edge.worker_pids()
    found = []
    with connect(edge.address) as connection, connection.makefile("rb") as reader:
        for _ in range(count):
            before = on_processor(worker)
            connection.sendall(sent)
            length = 0
            while (line := reader.readline()) != b"\r\n":
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            reader.read(length)
            found.append((on_processor(worker) - before) / 1e6)
    return found


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--requests", "count", type=click.IntRange(1), default=30, show_default=True,
              help="Of each kind.")  # fmt: skip
@click.argument("blob", required=False, type=click.Path(exists=True, path_type=Path))
def main(count: int, blob: Path | None) -> None:
    """Print the milliseconds of the event loop that a request of each kind costs.

    BLOB is served; the default is a small blob of the tests.
    """
    with short_tempdir() as folder:
        path = folder / "served.blob"
        path.write_bytes(blob.read_bytes() if blob else blobs.fictional(gap=True))
        edge = Edge(folder, path, IPGEO_WORKERS=1, IPGEO_DICT_SIZE="256m")
        with edge:
            print("| request | median ms | longest ms |")
            print("|---|--:|--:|")
            for name, sent in requests():
                found = costs(edge, sent, count)
                print(f"| {name} | {statistics.median(found):.2f} | {max(found):.2f} |", flush=True)


if __name__ == "__main__":
    main()
