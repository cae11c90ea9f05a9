"""Where test servers listen: free ports, and whether there is IPv6."""

import socket
from pathlib import Path

HAS_IPV6 = Path("/proc/net/if_inet6").exists()

_given: set[int] = set()


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that is free and that this process has not given out yet."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port not in _given:
            _given.add(port)
            return port
