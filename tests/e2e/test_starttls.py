"""TLS in and out, and that nothing said in clear counts once TLS was asked for (CVE-2011-0411, CVE-2021-38371, NO STARTTLS)."""

import re
import socket
import ssl
import struct
import time

import pytest

from gatest import corpus, smtp
from gatest.badsink import Close, Default, Delay, Each, Lines, Reset, StartTls


@pytest.fixture
def server(greenarrow, sink, certificate):
    return greenarrow(route=sink, service=f"tls_certificate_files {certificate[0]}, {certificate[1]}")


# In.

def test_mail_over_tls_is_taken_and_its_received_field_says_so(server, sink):
    assert smtp.submit(server.address, corpus.simple(), tls=True).code == 250
    head = sink.wait_messages(1)[0].wire.split(b"Message-ID")[0]
    assert b"with ESMTPS" in head


def test_starttls_is_offered_before_tls_and_not_within(server):
    with server.client() as client:
        client.ehlo()
        assert "STARTTLS" in client.extensions
        client.starttls()
        client.ehlo()
        assert "STARTTLS" not in client.extensions
        assert client.cmd("STARTTLS").code == 503


def test_tls_forgets_what_was_said_before(server):
    with server.client() as client:
        client.ehlo()
        client.envelope()
        client.starttls()
        assert client.cmd("MAIL FROM:<a@sender.example>").code == 503, "EHLO has to be said again"
        client.ehlo()
        assert client.cmd("DATA").code == 503


def test_starttls_takes_no_argument(server):
    with server.client() as client:
        client.ehlo()
        assert client.cmd("STARTTLS now").code == 501


@pytest.mark.parametrize("pieces", [[b"STARTTLS\r\nEHLO evil.example\r\n"], [b"STARTTLS\r\nE"], [b"STARTTLS\r\n" + b"NOOP\r\n" * 20000],
                                    [b"STARTTLS\r\nRSET\r\nMAIL FROM:<evil@sender.example>\r\nRCPT TO:<b@receiver.example>\r\n"]])
def test_commands_pipelined_behind_starttls_are_never_executed(server, pieces):
    with server.client() as client:
        client.ehlo()
        try:
            for piece in pieces:
                client.send(piece)
            reply = client.reply()
            if reply.code == 220:
                client.wrap()
                assert client.silent(0.5), "an answer to plaintext came inside TLS"
                assert client.cmd("MAIL FROM:<a@sender.example>").code == 503
            else:
                assert reply.code == 554
                assert client.closed_by_server()
        except (smtp.Disconnected, ConnectionError, ssl.SSLError):
            pass        # hung up: as good


def test_plaintext_injected_after_the_220_breaks_the_handshake_only(server):
    with server.client() as client:
        client.ehlo()
        assert client.cmd("STARTTLS").code == 220
        client.send(b"MAIL FROM:<evil@sender.example>\r\n")
        answer = b""
        while more := client.sock.recv(4096):
            answer += more
    assert re.fullmatch(rb"(\x15\x03.\x00\x02..)?", answer, re.DOTALL), f"more than a TLS alert: {answer!r}"
    server.submit()


def test_a_client_that_drops_during_the_handshake_harms_nobody(server):
    for behaviour in (b"", b"\x16\x03\x01\x00\x05hello", b"\x16\x03\x01\x40\x00" + b"x" * 100):
        client = server.client()
        client.ehlo()
        client.cmd("STARTTLS")
        client.send(behaviour)
        client.close()
    assert smtp.submit(server.address, corpus.simple(), tls=True).code == 250


@pytest.mark.parametrize("said", [b"", b"MAIL FROM:<a@sender.example>\r\n", b"DATA\r\nSubject: x\r\n", b"BDAT 100\r\nSubject: x\r\n", b"BDAT 100 LAST\r\n",
                                  b"BDAT 5 x\r\n"], ids=lambda said: said.split(b"\r")[0].decode())
def test_plaintext_after_the_end_of_tls_kills_the_session(server, said):
    """close_notify at each point of a session, 1 to 64 octets in clear behind it, then a reset (CVE-2026-45185)."""
    for octets in (1, 7, 64):
        with server.client() as client:
            client.ehlo()
            client.starttls()
            client.ehlo()
            if not said.startswith(b"MAIL"):
                client.envelope()
            client.send(said)
            plain = socket.fromfd(client.sock.fileno(), socket.AF_INET, socket.SOCK_STREAM)
            try:
                client.sock.setblocking(False)
                client.sock.unwrap()
            except (ssl.SSLError, OSError):
                pass
            plain.setblocking(True)
            plain.settimeout(5)
            try:
                plain.sendall(b"x\r\n.\r\nMAIL FROM:<evil@sender.example>\r\nRCPT TO:<b@receiver.example>\r\n"[:octets])
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                if octets > 1:
                    while plain.recv(4096):
                        pass
            except ConnectionError:
                pass
            plain.close()
    server.submit()


def test_old_protocols_are_refused(server):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with server.client() as client:
        client.ehlo()
        client.cmd("STARTTLS")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            context.wrap_socket(client.sock)


# Out.

def test_tls_is_used_when_it_is_offered(greenarrow, sinks, certificate):
    sink = sinks(certificate=certificate)
    server = greenarrow(route=sink)
    server.submit()
    message = sink.wait_messages(1)[0]
    assert message.tls and message.tls >= "TLSv1.2"
    verbs = message.session.verbs()
    assert verbs.count("EHLO") == 2 and verbs.index("STARTTLS") == 1


def test_tls_is_left_alone_when_told_so(greenarrow, sinks, certificate):
    sink = sinks(certificate=certificate)
    server = greenarrow(route=sink, everywhere="starttls_use no")
    server.submit()
    assert sink.wait_messages(1)[0].tls is None


@pytest.mark.parametrize("answer", ["454 4.7.0 not now", "502 5.5.1 unknown", "501 5.5.4 no", "500 what"])
def test_refused_starttls_goes_on_in_clear_when_tls_is_optional(greenarrow, sinks, certificate, answer):
    sink = sinks({"STARTTLS": answer}, certificate=certificate)
    server = greenarrow(route=sink)
    server.submit()
    assert sink.wait_messages(1)[0].tls is None


@pytest.mark.parametrize("script", [
    {"STARTTLS": "454 4.7.0 not now"}, {"STARTTLS": "502 5.5.1 unknown"}, {"EHLO": Lines(250, "sink.example", "PIPELINING")}, {"EHLO": "502 5.5.1 no EHLO here"},
    {"STARTTLS": ["220 go", Close()]}, {"STARTTLS": ["220 go", b"garbage" * 10, Close()]}, {"STARTTLS": Reset()},
])
def test_required_tls_means_no_mail_in_clear(greenarrow, sinks, certificate, script):
    sink = sinks(script, certificate=certificate)
    server = greenarrow(route=sink, everywhere="starttls_require yes")
    server.submit()
    sink.wait_sessions(1)
    server.wait_queue(disk=1, deferral_total=1)
    assert not sink.attempts
    assert not any("MAIL" in session.verbs() for session in sink.sessions)


def test_a_failed_handshake_is_followed_by_a_new_connection_in_clear(greenarrow, sinks, certificate):
    sink = sinks({"STARTTLS": Each(["220 go", Delay(0.3), b"not TLS at all\r\n", Close()], Default())}, certificate=certificate)
    server = greenarrow(route=sink)
    server.submit()
    message = sink.wait_messages(1)[0]
    assert message.tls is None and message.session is not sink.sessions[0]
    assert "MAIL" not in sink.sessions[0].verbs(), "nothing more may be said on a connection whose handshake failed"


@pytest.mark.parametrize("injected", [b"250 fake\r\n", b"250-fake\r\n250 AUTH PLAIN\r\n", b"x"])
def test_replies_in_clear_behind_the_220_are_never_taken_for_replies_inside_tls(greenarrow, sinks, certificate, injected):
    sink = sinks(scripts=[{"STARTTLS": [b"220 go\r\n" + injected, Delay(0.2), StartTls()]}, {}], certificate=certificate)
    server = greenarrow(route=sink, everywhere="starttls_require yes")
    server.submit()
    message = sink.wait_messages(1)[0]
    assert message.session.number >= 1, "the poisoned session has to be given up"
    assert "MAIL" not in sink.sessions[0].verbs()


def test_extensions_of_the_clear_session_are_forgotten_inside_tls(greenarrow, sinks, certificate):
    sink = sinks({"EHLO": Each(Lines(250, "sink.example", "STARTTLS", "SIZE 1000000", "8BITMIME", "PIPELINING"), Lines(250, "sink.example"))}, certificate=certificate)
    server = greenarrow(route=sink)
    server.submit(corpus.sample("04-eight-bit-utf8").wire)
    message = sink.wait_messages(1)[0]
    assert message.tls and message.parameters == ""


def test_a_server_that_waits_within_the_handshake_is_given_up(greenarrow, sinks, certificate):
    sink = sinks(scripts=[{"STARTTLS": ["220 go", Delay(30)]}, {}], certificate=certificate)
    server = greenarrow(route=sink, everywhere="smtp_tls_timeout 1s")
    started = time.monotonic()
    server.submit()
    sink.wait_messages(1, timeout=15)
    assert time.monotonic() - started < 15
