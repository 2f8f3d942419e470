"""The server agrees with a small model of SMTP on random sequences of commands; DATA never follows anything but an accepted MAIL and RCPT.

GA_MODEL_SEQUENCES sets how many sequences are tried; GA_MODEL_SEED repeats a run.
"""

import os
import random

import pytest

from gatest import corpus, smtp
from gatest.badsink import EXTENSIONS

SEQUENCES = int(os.environ.get("GA_MODEL_SEQUENCES", "150"))
LONG = b"NOOP " + b"x" * 3000

# What a client may say; the model below knows what each is worth in each state.
COMMANDS = [
    b"EHLO client.example", b"HELO client.example", b"EHLO", b"RSET", b"RSET x", b"NOOP", b"NOOP x", b"VRFY a", b"HELP", b"BLAH", b"", LONG, b"EXPN x",
    b"MAIL FROM:<a@sender.example>", b"MAIL FROM:<>", b"MAIL FROM:<bad", b"MAIL FROM:<a@sender.example> FOO=1", b"MAIL FROM:<a@sender.example> SIZE=99999999999",
    b"RCPT TO:<b@receiver.example>", b"RCPT TO:<c@receiver.example>", b"RCPT TO:<>", b"RCPT TO:<b@receiver.example> FOO", b"RCPT TO:<bad", b"DATA x",
    b"STARTTLS x", b"DATA", b"BDAT 0", b"BDAT 12\r\nSubject: x\r\n", b"BDAT 6\r\nRSET\r\n", b"BDAT 0 LAST", b"BDAT 8 LAST\r\n\r\nDATA\r\n", b"BDAT 3 LAST\r\na\nb",
    b"MAIL FROM:<a@sender.example> RET=HDRS ENVID=x SMTPUTF8", "MAIL FROM:<ü@sender.example>".encode(), b"MAIL FROM:<a@sender.example> ENVID=+0A",
    b"RCPT TO:<b@receiver.example> NOTIFY=NEVER", "RCPT TO:<ü@receiver.example>".encode(), b"RCPT TO:<b@receiver.example> ORCPT=x;+00", "VRFY ü".encode(),
    b"BDAT 200000\r\n" + b"x: y\r\n" * 33333 + b"\r\n",
]
WEIGHTS = [4, 2, 1, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 8, 2, 1, 1, 1, 8, 4, 1, 1, 1, 1, 1, 8, 1, 4, 2, 2, 3, 1, 2, 1, 1, 2, 2, 1, 1, 1]


class Model:
    """SMTP in forty lines: which first digits (or codes) may be answered, and what the command changes."""

    def __init__(self):
        self.greeted = self.esmtp = False
        self.reset()

    def reset(self):
        self.mail, self.utf8, self.recipients, self.chunks, self.failed = False, False, 0, False, False

    def chunk(self, line):
        """The code for a BDAT and its octets, or several codes; it ends the message, spoils it, or is a part of it."""
        if not self.mail or not self.esmtp or self.failed or not (self.chunks or self.recipients):
            self.failed = self.mail
            return {503, 554}
        self.chunks = True
        if b"200000" in line:
            self.failed = True
            return {552}
        if b"LAST" in line.split(b"\r\n")[0]:
            return {550} if b"\n" in line.replace(b"\r\n", b"") else {250}
        return {250}

    def expect(self, line):
        """The codes that are right for LINE in this state; an accepted one is told to `accepted` by the caller."""
        if line in (b"EHLO client.example", b"HELO client.example", b"RSET", b"NOOP", b"NOOP x"):
            return {250}
        if line.startswith(b"VRFY"):
            return {252} if line.isascii() else {553}
        if line == b"HELP":
            return {214}
        if line.startswith(b"MAIL"):
            if not self.greeted or self.mail:
                return {503}
            if line in (b"MAIL FROM:<a@sender.example>", b"MAIL FROM:<>") or (self.esmtp and line.endswith(b"SMTPUTF8")):
                return {250}
            return {501, 552, 555} if line.isascii() else {550}
        if line.startswith(b"RCPT"):
            if not self.mail or self.chunks or self.failed:
                return {503}
            if not line.isascii():
                return {250} if self.utf8 else {553}
            return {250} if line.endswith(b"example>") or (self.esmtp and line.endswith(b"NEVER")) else {501, 555}
        if line.startswith(b"BDAT"):
            return self.chunk(line)
        if line == b"DATA" and (self.chunks or self.failed):
            return {503}
        if line == b"DATA":
            return {354} if self.mail and self.recipients else {503, 554} if self.mail else {503}
        return {500, 501, 502, 503}

    def answered(self, line, code):
        verb = line[:4]
        if verb in (b"EHLO", b"HELO") and code == 250:
            self.greeted, self.esmtp = True, verb == b"EHLO"
            self.reset()
        elif verb == b"RSET" and code == 250:
            self.reset()
        elif verb == b"MAIL" and code == 250:
            self.mail, self.utf8 = True, line.endswith(b"SMTPUTF8")
        elif verb == b"RCPT" and code == 250:
            self.recipients += 1


def play(server, chooser, steps):
    """One session; returns how many messages the server took, and how many recipients they had."""
    model, taken, recipients, said = Model(), 0, 0, []
    with server.client() as client:
        for _ in range(steps):
            line = chooser.choices(COMMANDS, WEIGHTS)[0]
            said.append(line[:40])
            octets = line.startswith(b"BDAT") and b"\r\n" in line
            client.send(line + (b"" if octets else b"\r\n"))
            reply, expected = client.reply(), model.expect(line)
            assert reply.code in expected, f"{reply} to the last of {said}, expected {expected}"
            model.answered(line, reply.code)
            if "Queued" in reply.text:
                taken, recipients = taken + 1, recipients + model.recipients
            if b" LAST" in line and not model.failed:
                model.reset()
            if reply.code == 354:
                client.send(corpus.stuffed(corpus.simple()))
                reply = client.reply()
                assert reply.code == 250, f"{reply} to the end of data after {said}"
                taken, recipients = taken + 1, recipients + model.recipients
                model.reset()
            elif reply.code in (503, 554) and line == b"DATA":
                return taken, recipients            # a refused DATA may end the session with what follows it
        assert client.cmd("QUIT").code == 221
    return taken, recipients


@pytest.mark.slow
def test_random_sequences_of_commands_are_answered_as_the_model_says(greenarrow, sinks):
    sink = sinks(extensions=(*EXTENSIONS, "SMTPUTF8"))
    server = greenarrow(route=sink, service="max_errors 100000\nmax_message_size 100KiB")
    seed = int(os.environ.get("GA_MODEL_SEED", "0")) or random.randrange(1 << 30)
    print(f"GA_MODEL_SEED={seed}")
    chooser = random.Random(seed)
    taken = recipients = 0
    for _ in range(SEQUENCES):
        more = play(server, chooser, chooser.randrange(5, 40))
        taken, recipients = taken + more[0], recipients + more[1]
    server.wait_empty()
    assert taken > 0 and sum(len(message.recipients) for message in sink.messages) == recipients
    assert server.queue()["accepted_total"] in (taken, recipients)


ERRORS = [b"MAIL FROM:<bad", b"RCPT TO:<>", b"RCPT TO:<bad", b"BLAH", b"", LONG, b"EHLO", b"STARTTLS x", b"DATA x", b"RSET x", b"\x01\x02"]


@pytest.mark.parametrize("before", [b"", b"EHLO client.example", b"EHLO client.example\r\nMAIL FROM:<a@sender.example>"])
def test_after_every_error_data_still_needs_mail_and_rcpt(greenarrow, sink, before):
    server = greenarrow(route=sink, service="max_errors 1000")
    for error in ERRORS:
        with server.client() as client:
            for line in filter(None, before.split(b"\r\n")):
                assert client.cmd(line).code == 250
            assert client.cmd(error).code // 100 == 5
            assert client.cmd("DATA").code in (503, 554)


def test_after_a_refused_message_the_next_one_needs_an_envelope_of_its_own(greenarrow, sink):
    server = greenarrow(route=sink)
    with server.client() as client:
        client.ehlo()
        client.envelope()
        assert client.data(b"Subject: x\r\n\r\nbare\nline\r\n").code == 550
        assert client.cmd("RCPT TO:<b@receiver.example>").code == 503
        try:
            assert client.cmd("DATA").code == 503
        except smtp.Disconnected:
            pass
    assert not sink.sessions
