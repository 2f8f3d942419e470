"""A raw SMTP client: what is sent is exactly what the test says, and every reply is seen as it came."""

import re
import socket
import ssl

from . import corpus


class Reply:
    def __init__(self, code, lines, raw):
        self.code = code
        self.lines = lines
        self.raw = raw

    @property
    def text(self):
        return "\n".join(self.lines)

    @property
    def enhanced(self):
        found = re.match(r"([245]\.\d{1,3}\.\d{1,3}) ", self.lines[0] + " ")
        return found.group(1) if found else None

    def __repr__(self):
        return f"<{self.code} {self.text!r}>"


class Disconnected(Exception):
    pass


class Smtp:
    """One connection. `banner` is read on entry unless told otherwise; use it in a `with`. tls: before the banner."""

    def __init__(self, address, read_banner=True, timeout=20, source=None, tls=False):
        self.sock = socket.create_connection(address, timeout=timeout, source_address=source)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.extensions = {}
        if tls:
            self.wrap()
        self.banner = self.reply() if read_banner else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, octets):
        self.sock.sendall(octets if isinstance(octets, bytes) else octets.encode())

    def _line(self):
        while b"\n" not in self.buffer:
            try:
                more = self.sock.recv(65536)
            except ConnectionError as error:
                raise Disconnected(str(error)) from error
            if not more:
                raise Disconnected(f"connection closed; unfinished line: {self.buffer!r}")
            self.buffer += more
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line + b"\n"

    def reply(self):
        """The next whole reply; its form (same code on all lines, CRLF, at most 512 octets) is checked here."""
        raw, lines, code = b"", [], None
        while True:
            line = self._line()
            raw += line
            found = re.fullmatch(rb"([2-5][0-9][0-9])([ -]?)([^\r\n]*)\r\n", line)
            assert found, f"not a reply line: {line!r}"
            assert len(line) <= 512, f"reply line of {len(line)} octets"
            assert code in (None, int(found[1])), f"a second code within one reply: {raw!r}"
            code = int(found[1])
            lines.append(found[3].decode("utf-8", "replace"))
            if found[2] != b"-":
                return Reply(code, lines, raw)

    def cmd(self, line):
        self.send((line if isinstance(line, bytes) else line.encode()) + b"\r\n")
        return self.reply()

    def ehlo(self, name="client.example"):
        reply = self.cmd(f"EHLO {name}")
        if reply.code == 250:
            self.extensions = {line.split(" ")[0].upper(): line.partition(" ")[2] for line in reply.lines[1:]}
        return reply

    def envelope(self, sender="a@sender.example", recipients=("b@receiver.example",), parameters=""):
        """MAIL and all RCPTs, each of which has to be accepted."""
        reply = self.cmd(f"MAIL FROM:<{sender}>{' ' + parameters if parameters else ''}")
        assert reply.code == 250, reply
        for recipient in recipients:
            reply = self.cmd(f"RCPT TO:<{recipient}>")
            assert reply.code == 250, reply

    def data(self, wire):
        """DATA and a message (CRLF lines, not dot-stuffed); the reply to its end."""
        reply = self.cmd("DATA")
        assert reply.code == 354, reply
        self.send(corpus.stuffed(wire))
        return self.reply()

    def bdat(self, wire, size=0):
        """A message in chunks of SIZE octets (0: one chunk), all sent at once; the replies, one a chunk."""
        chunks = in_chunks(wire, size)
        self.send(b"".join(chunks))
        return [self.reply() for _ in chunks]

    def starttls(self):
        reply = self.cmd("STARTTLS")
        assert reply.code == 220, reply
        self.wrap()
        return reply

    def wrap(self, alpn=()):
        """The TLS handshake, whatever was said before it; alpn: protocols that the client names."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if alpn:
            context.set_alpn_protocols(list(alpn))
        self.sock = context.wrap_socket(self.sock)
        self.buffer = b""
        self.extensions = {}

    def silent(self, seconds=0.3):
        """Whether nothing more comes: no stray reply after the last one."""
        if self.buffer:
            return False
        before = self.sock.gettimeout()
        self.sock.settimeout(seconds)
        try:
            self.buffer += self.sock.recv(65536)
            return not self.buffer
        except (TimeoutError, ssl.SSLWantReadError):
            return True
        except ConnectionError:
            return True
        finally:
            self.sock.settimeout(before)

    def closed_by_server(self, seconds=5):
        """Whether the server ends the connection within SECONDS without another octet."""
        self.sock.settimeout(seconds)
        try:
            more = self.sock.recv(1)
        except TimeoutError:
            return False
        except (ConnectionError, ssl.SSLError):
            return True
        return more == b"" and not self.buffer


def in_chunks(wire, size=0):
    """WIRE as BDAT brings it: a list of commands, each with its octets."""
    pieces = [wire[at:at + size] for at in range(0, len(wire), size)] if size and wire else [wire]
    return [b"BDAT %d%s\r\n%s" % (len(piece), b" LAST" if n == len(pieces) else b"", piece) for n, piece in enumerate(pieces, 1)]


def submit(address, wire, sender="a@sender.example", recipients=("b@receiver.example",), parameters="", tls=False):
    """Hand in one message on a connection of its own; returns the reply to the end of data."""
    with Smtp(address) as client:
        assert client.ehlo().code == 250
        if tls:
            client.starttls()
            assert client.ehlo().code == 250
        client.envelope(sender, recipients, parameters)
        reply = client.data(wire)
        client.cmd("QUIT")
        return reply


def submit_or_refusal(address, wire, sender="a@sender.example", recipient="b@receiver.example"):
    """Like submit(), but the first refusal of any command is the answer."""
    with Smtp(address) as client:
        client.ehlo()
        for line in (f"MAIL FROM:<{sender}> SIZE={len(wire)}", f"RCPT TO:<{recipient}>", "DATA"):
            reply = client.cmd(line)
            if reply.code >= 400:
                return reply
        client.send(corpus.stuffed(wire))
        return client.reply()
