"""Free loopback ports and addresses.

Ports come from below the kernel's ephemeral range, so that no outgoing connection of a daemon under test can take
one between the moment it was found free and the moment its server binds. GA_TEST_PORTS=FIRST-LAST sets the range.
Workers of pytest-xdist share it out among themselves.
"""

import itertools
import os
import random
import socket



def _range():
    first, last = (int(n) for n in os.environ.get("GA_TEST_PORTS", "21000-29999").split("-"))
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    share = (last - first + 1) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    return first + worker * share, first + (worker + 1) * share - 1


_first, _last = _range()
_next = itertools.cycle(range(_first, _last + 1))
for _ in range(random.randrange(_last - _first)):
    next(_next)


def is_free(host, port):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as tcp, socket.socket(family, socket.SOCK_DGRAM) as udp:
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tcp.bind((host, port))
            udp.bind((host, port))
        except OSError:
            return False
    return True


def free_port(host="127.0.0.1"):
    for _ in range(_last - _first + 1):
        port = next(_next)
        if is_free(host, port):
            return port
    raise RuntimeError(f"no free port of {_first}-{_last} on {host}")


def free_address(port=25):
    """An address of 127.0.0.0/8 whose PORT nobody uses: MX hosts of a test each get one."""
    for _ in range(1000):
        host = f"127.{random.randint(20, 250)}.{random.randint(1, 250)}.{random.randint(1, 250)}"
        if is_free(host, port):
            return host
    raise RuntimeError(f"no loopback address with a free port {port}")
