"""What the three receivers have in common: start in a jail, wait for the banner, find a delivered message, stop."""

import os
import signal
import socket
import subprocess
import time

from gatest import ports


class Peer:
    """`adds` names the header fields that this server puts on top of a message that it delivers."""

    name = None
    adds = ()
    mailbox = "/mail/box"

    def __init__(self):
        self.host, self.port = "127.0.0.1", ports.free_port()
        self.jail = self.make_jail()
        self.log = self.jail.path("/var/log/peer.log")
        self.read, self.box = set(), {}

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    def __enter__(self):
        try:
            self.configure()
            with open(self.log, "wb") as log:
                self.process = self.start(log)
            self._wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        process = getattr(self, "process", None)
        if process:
            for sig in (signal.SIGTERM, signal.SIGKILL):
                try:
                    os.killpg(process.pid, sig)
                except ProcessLookupError:
                    break
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    continue
                time.sleep(0.2)
        self.jail.lock.release()

    def _wait_ready(self, timeout=30):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            try:
                with socket.create_connection((self.host, self.port), timeout=5) as sock:
                    if sock.recv(4) == b"220 ":
                        sock.sendall(b"QUIT\r\n")
                        return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError(f"{self.name} does not answer on {self.address}:\n{self.log.read_text(errors='replace')[-4000:]}")

    def _read_mailbox(self):
        """Take in the files that are new; a Maildir's files are whole from the moment they have their name."""
        for path in sorted(self.jail.path(self.mailbox).glob("new/*")):
            if path.name in self.read:
                continue
            self.read.add(path.name)
            octets = path.read_bytes()
            for line in octets[:4096].lower().split(b"\n"):
                if line.startswith((b"delivered-to:", b"x-original-to:", b"envelope-to:")):
                    recipient = line.split(b":", 1)[-1].strip().strip(b"<>").decode()
                    found = self.box.setdefault(recipient, [])
                    if octets not in found:
                        found.append(octets)

    def delivered(self, recipient, count=1, timeout=30):
        """The messages in the mailbox for RECIPIENT, with CRLF line ends, once COUNT of them are there."""
        end = time.monotonic() + timeout
        while True:
            self._read_mailbox()
            found = self.box.get(recipient.lower(), [])
            if len(found) >= count:
                return [octets.replace(b"\n", b"\r\n") for octets in found]
            if time.monotonic() > end:
                raise AssertionError(f"{self.name}: {len(found)} of {count} messages for {recipient} after {timeout} s\n"
                                     + self.log.read_text(errors="replace")[-3000:])
            time.sleep(0.05)
