#!/usr/bin/env python3
"""free_ports.py FIRST COUNT - print COUNT ports from FIRST upwards that nobody listens on at 127.0.0.1"""
import socket
import sys


def is_free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def main():
    first, count = int(sys.argv[1]), int(sys.argv[2])
    found = []
    for port in range(first, 65536):
        if is_free(port):
            found.append(port)
            if len(found) == count:
                print(*found)
                return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
