"""The sample messages of the tests.

`samples()` are the project's own (tests/samples/*.eml) and a big one made here, the same at every run.
`mail_corpus()` adds, where it is present, a folder of real mail that is no part of the project: GA_SHARED_MAIL, or
../shared/mail beside the source tree. No test needs it.
"""

import base64
import hashlib
import os
import pathlib
import re

SOURCE_ROOT = pathlib.Path(__file__).resolve().parents[3]
SAMPLES = SOURCE_ROOT / "tests" / "samples"
BIG_BYTES = 400_000


class Sample:
    """A message as it lies on disk (`raw`) and as it has to be on the wire, before dot-stuffing (`wire`)."""

    def __init__(self, name, raw):
        self.name = name
        self.raw = raw
        self.wire = canonical(raw)

    def __repr__(self):
        return self.name

    @property
    def longest_line(self):
        return max(len(line) for line in self.wire.split(b"\r\n"))

    @property
    def is_8bit(self):
        return any(octet > 127 for octet in self.raw)


def canonical(raw):
    """What a sender makes of a file: CRLF line ends and a last line that ends."""
    wire = re.sub(rb"\r?\n", b"\r\n", raw)
    return wire if wire.endswith(b"\r\n") or not wire else wire + b"\r\n"


def stuffed(wire):
    """The octets after DATA, end of data included."""
    return re.sub(rb"(?m)^\.", b"..", wire) + b".\r\n"


def big_sample(size=BIG_BYTES):
    """A multipart message of about SIZE octets; its attachment is a hash chain, so it is the same everywhere."""
    octets, block = bytearray(), b"greenarrow"
    while len(octets) * 78 // 57 < size:
        block = hashlib.sha256(block).digest()
        octets += block
    lines = (base64.b64encode(octets[i:i + 57]) for i in range(0, len(octets), 57))
    raw = (b"Message-ID: <20-big@sender.example>\r\nDate: Mon, 3 Mar 2025 09:15:02 +0100\r\n"
           b"From: Anna Lind <anna.lind@sender.example>\r\nTo: Tom Berg <tom.berg@receiver.example>\r\n"
           b"Subject: The photographs\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"big\"\r\n\r\n"
           b"--big\r\nContent-Type: text/plain\r\n\r\nSee the attachment.\r\n\r\n"
           b"--big\r\nContent-Type: application/octet-stream; name=\"photographs.tar\"\r\n"
           b"Content-Transfer-Encoding: base64\r\n\r\n" + b"\r\n".join(lines) + b"\r\n--big--\r\n")
    return Sample("20-big", raw)


def samples():
    own = [Sample(path.stem, path.read_bytes()) for path in sorted(SAMPLES.glob("*.eml"))]
    assert len(own) >= 10, f"the samples of {SAMPLES} are not there"
    return own + [big_sample()]


def sample(name):
    return next(one for one in samples() if one.name == name)


def shared_mail():
    for folder in (os.environ.get("GA_SHARED_MAIL"), SOURCE_ROOT.parent / "shared" / "mail"):
        if folder and pathlib.Path(folder).is_dir():
            folder = pathlib.Path(folder)
            return [Sample(f"{path.parent.name}/{path.stem}", path.read_bytes()) for path in sorted(folder.glob("*/*.eml"))]
    return []


def mail_corpus():
    return samples() + shared_mail()


def simple(subject="test", body="Hello.\r\n", message_id=None):
    """A short message for tests that are not about content."""
    message_id = message_id or f"<{os.urandom(8).hex()}@sender.example>"
    return (f"Message-ID: {message_id}\r\nDate: Mon, 3 Mar 2025 09:15:02 +0100\r\nFrom: <a@sender.example>\r\n"
            f"To: <b@receiver.example>\r\nSubject: {subject}\r\n\r\n{body}").encode()
