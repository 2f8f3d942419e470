"""A real DNS server (Knot DNS) with the zones that a test wants, on a loopback port.

`with Dns({"receiver.example": ["MX 10 mx1.receiver.example.", ...], "mx1.receiver.example": ["A 127.0.0.9"]}) as dns:`
serves one root zone with these records and nothing else, so every other name is NXDOMAIN. Names below `servfail` get
SERVFAIL (a zone that is configured and has no data). `dns.change(records)` replaces all records.
"""

import pathlib
import shutil
import socket
import struct
import subprocess
import tempfile
import time

from . import need, ports


class Dns:
    def __init__(self, records=None, servfail=(), ttl=1, host="127.0.0.1"):
        self.records, self.servfail, self.ttl, self.host = dict(records or {}), tuple(servfail), ttl, host
        self.port = ports.free_port(host)
        self.serial = 1
        self.folder = None

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    def __enter__(self):
        knotd = need.program("knotd", "knot")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="ga-dns-"))
        self._write_zone()
        (self.folder / "knot.conf").write_text(self._conf())
        with open(self.folder / "knot.log", "wb") as log:
            self.process = subprocess.Popen([knotd, "-c", str(self.folder / "knot.conf")], stdout=log, stderr=log)
        self._wait_serial()
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _conf(self):
        zones = [f"  - domain: .\n    file: {self.folder}/root.zone\n"]
        zones += [f"  - domain: {name}.\n    file: {self.folder}/missing-{name}.zone\n" for name in self.servfail]
        return (f"server:\n    listen: {self.host}@{self.port}\n    rundir: {self.folder}\n    udp-workers: 1\n"
                f"    tcp-workers: 1\n    background-workers: 1\ncontrol:\n    listen: {self.folder}/knot.sock\n"
                f"database:\n    storage: {self.folder}\nlog:\n  - target: stderr\n    any: warning\n"
                f"template:\n  - id: default\n    journal-content: none\n    zonefile-load: whole\n    zonefile-sync: -1\n"
                f"zone:\n" + "".join(zones))

    def _write_zone(self):
        lines = [f"$TTL {self.ttl}", f". SOA ns.test. hostmaster.test. {self.serial} 3600 600 86400 {self.ttl}", ". NS ns.test.",
                 f"ns.test. A {self.host}"]
        for name, values in self.records.items():
            for value in [values] if isinstance(values, str) else values:
                lines.append(f"{name.rstrip('.')}. {value}")
        (self.folder / "root.zone").write_text("\n".join(lines) + "\n")

    def change(self, records):
        self.records = dict(records)
        self.serial += 1
        self._write_zone()
        knotc = need.program("knotc", "knot")
        subprocess.run([knotc, "-b", "-s", str(self.folder / "knot.sock"), "zone-reload", "."], check=True, capture_output=True, timeout=20)
        self._wait_serial()

    def _wait_serial(self, timeout=15):
        """Ready is when the server answers with the zone as it is now."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if self._serial_served() == self.serial:
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise RuntimeError("knotd does not serve: " + (self.folder / "knot.log").read_text())

    def _serial_served(self):
        query = struct.pack(">HHHHHH", 1, 0, 1, 0, 0, 0) + b"\0" + struct.pack(">HH", 6, 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(0.5)
            try:
                sock.sendto(query, (self.host, self.port))
                answer = sock.recv(4096)
            except OSError:
                return None
        if answer[3] & 15 or struct.unpack(">H", answer[6:8])[0] < 1:
            return None
        return struct.unpack(">IIIII", answer[-20:])[0] if len(answer) >= 20 else None


class SilentDns:
    """A DNS server's port where questions are taken and never answered."""

    def __init__(self, host="127.0.0.1"):
        self.address = f"{host}:{ports.free_port(host)}"

    def __enter__(self):
        host, port = self.address.split(":")
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind((host, int(port)))
        return self

    def __exit__(self, *_):
        self._sock.close()
