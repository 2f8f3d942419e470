"""A receiving SMTP server of ours that misbehaves exactly as a test scripts it, and remembers every octet.

A script is a dict from a point of the session to what happens there. Points: "banner", "EHLO", "HELO", "STARTTLS",
"MAIL", "RCPT", "RCPT 2" (the second one of a transaction), "DATA", "BDAT" (a chunk that is not the last), "body" (within the data, see Body),
"EOD" (the end of the data or of the last chunk), "RSET", "NOOP", "QUIT", "other" (any other command) and "connect" (before the banner).
What happens is one of, or a list of:

    "550 5.1.1 no"          a reply, CRLF added (a list of strings in Lines makes one multi-line reply)
    b"250 o"                octets as they are
    Split(reply, 1, 0.01)   the reply in pieces of 1 octet, 10 ms apart
    Delay(2)                wait
    Until(event)            wait until the test sets this threading.Event
    Close()  Reset()        end the connection: FIN, RST
    Silence()               say nothing more, until the client goes away
    StartTls()              the server's side of a handshake
    Default()               what a well-behaved server does here
    Each(a, b, c)           a the first time in the life of the sink, then b, from then on c
    a function(session, line) returning one of these

Where the script says nothing, the sink is well-behaved. `scripts=[one, two]` scripts the first connection and the
second and later ones apart. The server runs on an asyncio loop in a thread; results are plain lists that the test reads.
"""

import asyncio
import contextlib
import itertools
import re
import socket
import ssl
import struct
import threading
import time

from . import ports

EXTENSIONS = ("PIPELINING", "SIZE 52428800", "8BITMIME", "ENHANCEDSTATUSCODES")


class Delay:
    def __init__(self, seconds):
        self.seconds = seconds


class Until:
    def __init__(self, event):
        self.event = event


class Split:
    def __init__(self, reply, size=1, seconds=0.005):
        self.reply, self.size, self.seconds = reply, size, seconds


class Lines:
    """One multi-line reply: Lines(250, "a", "b") is `250-a`, `250 b`."""

    def __init__(self, code, *texts):
        self.octets = b"".join(f"{code}{'-' if i < len(texts) - 1 else ' '}{text}\r\n".encode() for i, text in enumerate(texts))


class Body:
    """At the point "body": once AFTER octets of the message have come, do ACTIONS."""

    def __init__(self, after, actions):
        self.after, self.actions = after, actions


class Each:
    def __init__(self, *steps):
        self.steps, self.used = steps, 0

    def next(self):
        step = self.steps[min(self.used, len(self.steps) - 1)]
        self.used += 1
        return step


class Close:
    pass


class Reset:
    pass


class Silence:
    pass


class StartTls:
    pass


class Default:
    pass


class _Ended(Exception):
    """This session is over; its argument says who ended it."""


class Message:
    def __init__(self, session, stuffed, chunked=False):
        self.session, self.chunked = session, chunked
        self.sender = session.sender
        self.recipients = list(session.recipients)
        self.parameters = session.parameters
        self.stuffed = stuffed
        self.wire = stuffed if chunked else re.sub(rb"(?m)^\.", b"", stuffed)
        self.tls = session.tls
        self.at = time.monotonic()
        self.accepted = False

    def __repr__(self):
        return f"<message from {self.sender} to {self.recipients}, {len(self.wire)} octets>"


class Session:
    """One connection and all that was said on it."""

    def __init__(self, sink, number, script, reader, writer):
        self.sink, self.number, self.script = sink, number, script
        self.reader, self.writer = reader, writer
        self.peer = writer.get_extra_info("peername")
        self.opened, self.closed, self.ended = time.monotonic(), None, None
        self.transcript = []            # (seconds since it opened, "<" from the client or ">" to it, octets)
        self.received = bytearray()     # every octet of the client, decrypted
        self.commands = []              # command lines without their CRLF
        self.plaintext_behind_starttls = b""
        self.tls = None
        self.buffer = b""
        self.last_code, self.codes = 0, []
        self.reset()

    def reset(self):
        self.sender, self.recipients, self.parameters, self.rcpt_seen = None, [], "", 0
        self.chunks = []

    def verbs(self):
        return [line.split(b" ")[0].split(b":")[0].decode("latin-1").upper() for line in self.commands]

    def note(self, direction, octets):
        self.transcript.append((time.monotonic() - self.opened, direction, bytes(octets)))

    async def fill(self):
        try:
            more = await self.reader.read(65536)
        except (ConnectionError, ssl.SSLError, OSError) as error:
            raise _Ended(f"client: {error}") from error
        if not more:
            raise _Ended("client closed")
        self.note("<", more)
        self.received += more
        self.buffer += more

    def said(self, octets):
        """Note the codes of the replies in OCTETS."""
        codes = [int(code) for code in re.findall(rb"(?m)^([2-5][0-9][0-9])(?: [^\r\n]*)?\r?\n", octets)]
        self.last_code = codes[-1] if codes else 0
        self.codes += codes

    async def write(self, octets):
        self.note(">", octets)
        self.said(octets)
        try:
            self.writer.write(octets)
            await self.writer.drain()
        except (ConnectionError, ssl.SSLError, OSError) as error:
            raise _Ended(f"client: {error}") from error

    async def line(self):
        while b"\n" not in self.buffer:
            await self.fill()
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.removesuffix(b"\r")

    async def do(self, step, point, line=b""):
        if callable(step) and not isinstance(step, type):
            step = step(self, line)
        if isinstance(step, (list, tuple)):
            for one in step:
                await self.do(one, point, line)
        elif isinstance(step, Each):
            await self.do(step.next(), point, line)
        elif isinstance(step, Default):
            await self.do(self.sink.well_behaved(self, point, line), point, line)
        elif isinstance(step, Delay):
            await asyncio.sleep(step.seconds)
        elif isinstance(step, Until):
            while not step.event.is_set():
                await asyncio.sleep(0.01)
        elif isinstance(step, Split):
            octets = _octets(step.reply)
            for i in range(0, len(octets), step.size):
                await self.write(octets[i:i + step.size])
                await asyncio.sleep(step.seconds)
            self.said(octets)
        elif isinstance(step, Close):
            raise _Ended("sink closed")
        elif isinstance(step, Reset):
            sock = self.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.writer.transport.abort()
            raise _Ended("sink reset")
        elif isinstance(step, Silence):
            while True:
                await self.fill()
        elif isinstance(step, StartTls):
            await self.start_tls()
        else:
            await self.write(_octets(step))

    async def start_tls(self):
        self.plaintext_behind_starttls, self.buffer = self.buffer, b""
        try:
            await self.writer.start_tls(self.sink.tls_context)
        except (ConnectionError, ssl.SSLError, OSError) as error:
            raise _Ended(f"TLS: {error}") from error
        self.tls = self.writer.get_extra_info("ssl_object").version()

    async def at(self, point, line=b""):
        """Play what the script has for POINT; the code of the last reply."""
        self.last_code = 0
        keys = [point] if point != "RCPT" else [f"RCPT {self.rcpt_seen}", "RCPT"]
        step = next((self.script[key] for key in keys if key in self.script), Default())
        await self.do(step, point, line)
        return self.last_code

    async def run(self):
        await self.at("connect")
        await self.at("banner")
        while True:
            line = await self.line()
            self.commands.append(line)
            verb = re.split(rb"[ :]", line, 1)[0].decode("latin-1").upper()
            handler = {"MAIL": self.mail, "RCPT": self.rcpt, "DATA": self.data, "BDAT": self.bdat}.get(verb)
            if handler:
                await handler(line)
                continue
            if verb in ("EHLO", "HELO", "RSET"):
                self.reset()
            await self.at(verb if verb in ("EHLO", "HELO", "STARTTLS", "RSET", "NOOP", "VRFY", "HELP", "QUIT") else "other", line)

    async def mail(self, line):
        address, parameters = _path(line)
        if await self.at("MAIL", line) // 100 == 2:
            self.reset()
            self.sender, self.parameters = address, parameters

    async def rcpt(self, line):
        self.rcpt_seen += 1
        if await self.at("RCPT", line) // 100 == 2:
            self.recipients.append(_path(line)[0])

    async def data(self, line):
        if await self.at("DATA", line) != 354:
            return
        hook = self.script.get("body")
        end = -1
        while end < 0:
            if hook and len(self.buffer) >= hook.after:
                await self.do(hook.actions, "body")
                hook = None
            if self.buffer.startswith(b".\r\n"):
                end = 0
            else:
                found = self.buffer.find(b"\r\n.\r\n")
                end = found + 2 if found >= 0 else -1
            if end < 0:
                await self.fill()
        message = Message(self, self.buffer[:end])
        self.buffer = self.buffer[end + 3:]
        await self.end_of(message)

    async def bdat(self, line):
        words = line.split()
        size, hook = int(words[1]), self.script.get("body")
        while len(self.buffer) < size:
            if hook and len(self.buffer) >= hook.after:
                await self.do(hook.actions, "body")
                hook = None
            await self.fill()
        self.chunks.append(self.buffer[:size])
        self.buffer = self.buffer[size:]
        if words[2:] == [b"LAST"]:
            await self.end_of(Message(self, b"".join(self.chunks), chunked=True))
        else:
            await self.at("BDAT", line)

    async def end_of(self, message):
        self.sink.attempts.append(message)
        self.codes = []
        try:
            await self.at("EOD")
        finally:
            # the first reply counts, whatever the script does after it
            message.accepted = bool(self.codes) and self.codes[0] // 100 == 2
            if message.accepted:
                self.sink.messages.append(message)
        self.reset()


def peak(sessions):
    """The most of SESSIONS, whichever sinks' they are, that were open at one moment."""
    steps = []
    for session in sessions:
        steps.append((session.opened, 1))
        if session.closed:
            steps.append((session.closed, -1))
    most = now = 0
    for _, step in sorted(steps):
        now += step
        most = max(most, now)
    return most


def _octets(reply):
    if isinstance(reply, Lines):
        return reply.octets
    return reply if isinstance(reply, bytes) else reply.encode() + b"\r\n"


def _path(line):
    found = re.search(rb":\s*<(.*?)>\s*(.*)$", line)
    if not found:
        return line.decode("latin-1"), ""
    return found[1].decode("utf-8", "surrogateescape"), found[2].decode("latin-1")


class BadSink:
    """The server. `with BadSink({...}) as sink:`, then `sink.messages`, `sink.sessions`, `sink.peak()`."""

    def __init__(self, script=None, scripts=None, host="127.0.0.1", port=None, extensions=EXTENSIONS, certificate=None,
                 listening=True, name="sink.example", more_hosts=()):
        self.scripts = scripts or [script or {}]
        self.host, self.more_hosts = host, list(more_hosts)
        self.port = port or ports.free_port(host)
        self.extensions = list(extensions)
        self.name = name
        self.tls_context = None
        if certificate:
            self.tls_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls_context.load_cert_chain(*certificate)
        self.sessions, self.messages, self.attempts = [], [], []
        self._listening = listening
        self._numbers = itertools.count()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server = None
        self._tasks = set()

    def __enter__(self):
        self._thread.start()
        if self._listening:
            self.open()
        return self

    def __exit__(self, *_):
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def address(self):
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(20)

    async def _stop(self):
        if self._server:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def open(self):
        """Listen (again)."""
        async def start():
            self._server = await asyncio.start_server(self._serve, [self.host, *self.more_hosts], self.port, backlog=512)
        self._call(start())

    def shut(self):
        """Stop listening: new connections are refused, open ones go on."""
        async def stop():
            self._server.close()
            self._server = None
        self._call(stop())

    async def _serve(self, reader, writer):
        number = next(self._numbers)
        session = Session(self, number, self.scripts[min(number, len(self.scripts) - 1)], reader, writer)
        self.sessions.append(session)
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            await session.run()
        except _Ended as end:
            session.ended = str(end)
        except asyncio.CancelledError:
            session.ended = "sink stopped"
        finally:
            session.closed = time.monotonic()
            self._tasks.discard(task)
            with contextlib.suppress(Exception):
                writer.close()

    def well_behaved(self, session, point, line):
        """What a decent server does at POINT."""
        if point == "EHLO":
            offers = [self.name] + self.extensions
            if self.tls_context and not session.tls and "STARTTLS" not in offers:
                offers.append("STARTTLS")
            return Lines(250, *offers)
        if point == "STARTTLS":
            if not self.tls_context or session.tls:
                return "503 5.5.1 no TLS here"
            return ["220 2.0.0 go ahead", StartTls()]
        return {
            "connect": [],
            "banner": f"220 {self.name} ESMTP",
            "HELO": f"250 {self.name}",
            "MAIL": "250 2.1.0 ok",
            "RCPT": "250 2.1.5 ok",
            "BDAT": "250 2.0.0 more",
            "DATA": "354 go on" if session.recipients else "503 5.5.1 no recipients",
            "EOD": "250 2.0.0 kept",
            "RSET": "250 2.0.0 ok",
            "NOOP": "250 2.0.0 ok",
            "VRFY": "252 2.5.0 will see",
            "HELP": "214 2.0.0 no help",
            "QUIT": ["221 2.0.0 bye", Close()],
        }.get(point, "500 5.5.2 what?")

    # What the test asks afterwards.

    def wait_for(self, condition, timeout=20, what="the sink"):
        end = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f"{what}: not within {timeout} s; {len(self.sessions)} sessions, {len(self.messages)} messages\n"
                                     + self.dump())
            time.sleep(0.02)

    def wait_messages(self, count=1, timeout=20):
        self.wait_for(lambda: len(self.messages) >= count, timeout, f"{count} messages")
        return self.messages

    def wait_sessions(self, count=1, timeout=20):
        self.wait_for(lambda: len(self.sessions) >= count, timeout, f"{count} sessions")
        return self.sessions

    def wait_idle(self, timeout=20):
        self.wait_for(lambda: all(s.closed for s in self.sessions), timeout, "all sessions closed")

    def peak(self, choose=lambda session: True):
        """The most connections that were open at one moment, of those that CHOOSE takes."""
        return peak(filter(choose, self.sessions))

    def dump(self, last=5):
        """The last sessions as text, for a failing test's message."""
        out = []
        for session in self.sessions[-last:]:
            out.append(f"-- session {session.number} from {session.peer}, ended: {session.ended}")
            out += [f"{at:7.3f} {direction} {octets[:300]!r}" for at, direction, octets in session.transcript]
        return "\n".join(out)


class BlackHole:
    """An address where a connection attempt gets no answer at all: a listener with a full backlog."""

    def __init__(self, host="127.0.0.1", port=None):
        self.host, self.port = host, port or ports.free_port(host)

    def __enter__(self):
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((self.host, self.port))
        self._listener.listen(0)
        self._fill = []
        for _ in range(4):
            sock = socket.socket()
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                sock.connect((self.host, self.port))
            self._fill.append(sock)
        time.sleep(0.1)
        return self

    def __exit__(self, *_):
        for sock in [*self._fill, self._listener]:
            sock.close()

    @property
    def address(self):
        return f"{self.host}:{self.port}"
