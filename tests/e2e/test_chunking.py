"""Messages in chunks (RFC 3030): they arrive as they were sent, whatever the chunks; a chunk is never read as commands, and nothing grows with their number."""

import pathlib
import re
import time

import pytest

from gatest import arrivals, corpus, smtp
from test_smuggling import CLEAN, FALSE_ENDS, SECOND, STRAYS, assert_clean

BINARY = b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n"


def resident(server):
    """KiB of memory that the daemon has."""
    status = pathlib.Path(f"/proc/{server.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


def begin(client, parameters="", tls=False):
    assert client.ehlo().code == 250
    if tls:
        client.starttls()
        client.ehlo()
    client.envelope(parameters=parameters)


def converse(server, octets, tls=False):
    """An envelope, OCTETS and QUIT in one write; the replies behind the envelope's until the end."""
    with server.client() as client:
        begin(client, tls=tls)
        replies = []
        try:
            client.send(octets + b"QUIT\r\n")
            while not replies or replies[-1].code not in (221, 421):
                replies.append(client.reply())
        except (smtp.Disconnected, ConnectionError):
            pass
        return replies


def test_chunking_is_offered(greenarrow, sink):
    with greenarrow(route=sink).client() as client:
        client.ehlo()
        assert {"CHUNKING", "BINARYMIME"} <= set(client.extensions)


@pytest.mark.parametrize("size", [1, 7, 4095, 65537, 0])
def test_a_message_in_chunks_arrives_octet_for_octet(greenarrow, sink, size):
    server = greenarrow(route=sink, service="max_errors 100")
    messages = [one for one in corpus.samples() if not size or len(one.wire) < size * 9000]
    assert len(messages) >= 8
    with server.client() as client:
        for message in messages:
            begin(client)
            replies = client.bdat(message.wire, size)
            assert {reply.code for reply in replies} == {250}, f"{message}: {replies[-1]}"
            assert replies[-1].text.startswith("2.0.0 Queued")
    sink.wait_messages(len(messages))
    assert not sink.attempts[len(messages):]
    for message in messages:
        found = [one for one in sink.messages if one.wire.endswith(message.wire)]
        assert found, f"{message} did not arrive as it was sent"
        arrivals.assert_same(found[0].wire, message.wire)


def test_mail_that_exim_hands_over_in_chunks_arrives(greenarrow, sink, receivers):
    """Exim says BDAT wherever it is offered, its fields and all behind the first one."""
    server = greenarrow(route=sink)
    exim = receivers["exim"]
    exim.send_onward_to(server.address)
    messages = [one for one in corpus.samples() if one.longest_line < 998]
    assert len(messages) >= 8
    for message in messages:
        assert smtp.submit((exim.host, exim.port), message.wire, recipients=["b@onward.example"]).code == 250
    for message in sink.wait_messages(len(messages), timeout=60):
        assert arrivals.is_our_received(message.wire.split(b"\r\nReceived:")[0]), "our field is not on top"
        assert any(message.wire.endswith(one.wire) for one in messages)
    assert len(re.findall(r"=> b@onward\.example .* K ", exim.main_log)) == len(messages), "not by BDAT"


def test_a_message_of_twenty_megabytes_comes_in_chunks(greenarrow, sink):
    server = greenarrow(route=sink)
    wire = corpus.big_sample(20_000_000).wire
    with server.client(timeout=120) as client:
        begin(client)
        for chunk in smtp.in_chunks(wire, 1_000_003):
            client.send(chunk)
            assert client.reply().code == 250
    arrivals.assert_same(sink.wait_messages(1, timeout=120)[0].wire, wire)


def test_a_last_line_without_its_end_is_ended_when_it_goes_by_data(greenarrow, sink):
    server = greenarrow(route=sink)
    for number, body in enumerate((b"end", b".", b"x\r\n.")):
        with server.client() as client:
            begin(client)
            wire = b"Subject: x\r\n\r\n" + body
            assert client.bdat(wire, 5)[-1].code == 250
        arrivals.assert_same(sink.wait_messages(number + 1)[-1].wire, wire + b"\r\n")
    assert_clean(sink)


# What is in a chunk is text.

@pytest.mark.parametrize("size, tls", [(0, False), (1, False), (3, False), (0, True), (1, True)])
def test_no_false_end_of_data_within_chunks_is_honoured_or_passed_on(greenarrow, sink, certificate, size, tls):
    """The matrix of test_smuggling.py, and the true end of data as well, which is text in a chunk."""
    server = greenarrow(route=sink, service=f"max_errors 1000\ntls_certificate_files {certificate[0]}, {certificate[1]}")
    taken = 0
    for name, sequence in {**FALSE_ENDS, **STRAYS, "CRLF.CRLF": b"\r\n.\r\n"}.items():
        wire = b"Subject: outer\r\n\r\nbefore" + sequence + SECOND
        replies = converse(server, b"".join(smtp.in_chunks(wire, size)), tls)
        assert [reply.code for reply in replies[:-2]] == [250] * (len(replies) - 2) and replies[-1].code == 221, f"{name}: {replies}"
        if name in CLEAN or name == "CRLF.CRLF":
            assert replies[-2].code == 250, f"{name}: {replies[-2]}"
            taken += 1
        else:
            assert replies[-2].code // 100 == 5, f"{name}: {replies[-2]}"
    sink.wait_messages(taken)
    server.wait_empty()
    assert len(sink.messages) == taken
    assert_clean(sink)


def test_normalize_rewrites_line_ends_of_chunks_too(greenarrow, sink):
    server = greenarrow(route=sink, service="bare_newlines normalize\nmax_errors 100")
    for sequence in FALSE_ENDS.values():
        replies = converse(server, b"".join(smtp.in_chunks(b"Subject: outer\r\n\r\nbefore" + sequence + SECOND, 2)))
        assert replies[-1].code == 221 and (replies[-2].code == 250) is (b"\0" not in sequence)
    server.wait_empty()
    assert len(sink.messages) == sum(b"\0" not in sequence for sequence in FALSE_ENDS.values())
    assert_clean(sink)


# Order, numbers, bounds.

def test_a_refused_chunk_is_read_to_its_end(greenarrow, sink):
    """Commands in a chunk that nobody asked for are not run."""
    server = greenarrow(route=sink)
    evil = b"MAIL FROM:<evil@sender.example>\r\nRCPT TO:<b@receiver.example>\r\n"
    with server.client() as client:
        client.ehlo()
        assert [reply.code for reply in client.bdat(evil, 13)] == [503] * len(smtp.in_chunks(evil, 13))
        assert client.cmd("DATA").code == 503


def test_after_every_failed_chunk_data_needs_mail_and_rcpt(greenarrow, sink):
    server = greenarrow(route=sink, service="max_message_size 1KiB\nmax_errors 100")
    large, bare = b"x" * 2000, b"x\ny"
    for octets in (b"BDAT 2000\r\n" + large, b"BDAT 2000 LAST\r\n" + large, b"BDAT 3 LAST\r\n" + bare, b"BDAT 3\r\n" + bare + b"BDAT 0 LAST\r\n",
                   b"BDAT 2000\r\n" + large + b"BDAT 3 LAST\r\n" + bare):
        with server.client() as client:
            begin(client)
            client.send(octets + b"NOOP\r\n")
            codes = []
            while not codes or codes[-1].text != "2.0.0 OK":
                codes.append(client.reply())
            assert codes[-2].code // 100 == 5, codes
            for step in ("DATA", "BDAT 0 LAST", "RSET", "DATA", "BDAT 0 LAST"):
                assert client.cmd(step).code == (250 if step == "RSET" else 503), step
            client.envelope()
            assert client.bdat(b"Subject: x\r\n\r\n")[0].code == 250
    sink.wait_messages(5)


@pytest.mark.parametrize("size", ["2147483648", "4294967296", "4294967301", "9223372036854775808", "18446744073709551615", "18446744073709551620", "9" * 60])
def test_a_chunk_of_a_size_that_overflows_is_only_too_large(greenarrow, sink, size):
    server = greenarrow(route=sink, service="max_message_size 1MiB")
    server.submit()
    before = resident(server)
    with server.client() as client:
        begin(client)
        client.send(f"BDAT {size} LAST\r\n")
        sent = 0
        try:
            while sent < 100_000_000:
                client.send(b"x" * 65536)
                sent += 65536
        except ConnectionError:
            pass
        assert sent < 40_000_000, "dropping octets has no end"
    assert resident(server) - before < 20_000
    server.submit()


@pytest.mark.parametrize("line", ["BDAT", "BDAT x", "BDAT 0x10", "BDAT -1", "BDAT +5", "BDAT 5 LOST", "BDAT 5 LAST 5", "BDAT " + "0" * 600 + "5"])
def test_a_chunk_whose_size_is_no_number_ends_the_session(greenarrow, sink, line):
    server = greenarrow(route=sink)
    replies = converse(server, line.encode() + b"\r\nRSET\r\nMAIL FROM:<evil@sender.example>\r\n")
    assert [reply.code for reply in replies] in ([501, 421], [500, 421])


def test_leading_zeros_of_a_size_are_only_zeros(greenarrow, sink):
    server = greenarrow(route=sink)
    with server.client() as client:
        begin(client)
        client.send(b"BDAT 000000000000000000000000000000014 LAST\r\nSubject: x\r\n\r\n")
        assert client.reply().code == 250


def test_a_million_chunks_of_one_octet_leave_memory_flat(greenarrow, sink):
    server = greenarrow(route=sink)
    server.submit()
    before = resident(server)
    with server.client() as client:
        begin(client)
        answered = 0
        try:
            for _ in range(1000):
                client.send(b"BDAT 1\r\nx" * 1000)
                for _ in range(1000):
                    if client.reply().code != 250:
                        raise smtp.Disconnected("421")
                    answered += 1
        except (smtp.Disconnected, ConnectionError):
            pass
        assert 10_000 <= answered < 12_000
        assert resident(server) - before < 20_000


def test_chunks_that_trickle_are_cut_off(greenarrow, sink):
    server = greenarrow(route=sink, service="smtpd_data_timeout 1s\nsmtpd_timeout 30s")
    for octet in (b"BDAT 1\r\nx", b"x"):
        with server.client() as client:
            begin(client)
            if octet == b"x":
                client.send(b"BDAT 1000\r\n")
            started = time.monotonic()
            try:
                while time.monotonic() - started < 20:
                    client.send(octet)
                    time.sleep(0.3)
            except ConnectionError:
                pass
            assert time.monotonic() - started < 10, f"{octet!r} now and then holds a session open"


# Binary mail.

def test_binary_mail_is_taken_by_bdat_and_never_sent_by_data(greenarrow, sink):
    server = greenarrow(route=sink)
    with server.client() as client:
        begin(client, "BODY=BINARYMIME")
        assert client.cmd("DATA").code == 503
        assert client.bdat(BINARY + bytes(range(256)), 7)[-1].code == 250
    server.wait_queue(failure_total=1)
    assert not sink.attempts


def test_the_same_octets_are_refused_when_they_are_not_declared_binary(greenarrow, sink):
    server = greenarrow(route=sink)
    with server.client() as client:
        begin(client, "BODY=8BITMIME")
        assert client.bdat(BINARY + bytes(range(256)), 7)[-1].code == 554
    assert not sink.attempts
