"""Where test servers listen: free ports, and whether there is IPv6."""

import socket


def _has_ipv6() -> bool:
    """Whether ::1 can be bound: a plain container's kernel has IPv6, but no address of it."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


HAS_IPV6 = _has_ipv6()

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
