"""Messages leave by BDAT where CHUNKING is offered (RFC 3030): the same octets, once, and a failure is what it is with DATA."""

import pytest

from gatest import arrivals, corpus, daemon, smtp
from gatest.badsink import Body, Close, Default, Delay, Each, Lines, Reset, Silence

OFFERS = ["PIPELINING", "SIZE 52428800", "8BITMIME", "CHUNKING", "BINARYMIME"]
MIB = 1 << 20


@pytest.fixture
def chunks(sinks):
    def make(script=None, extensions=OFFERS, **arguments):
        return sinks(script, extensions=extensions, **arguments)
    return make


def bodies():
    yield "dots", b"S: x\r\n\r\n.\r\n..\r\n.x\r\n"
    yield "no line end", b"S: x\r\n\r\nno line end"
    yield "a blank line", b"S: x\r\n\r\n\r\n"
    yield "8 bit", "S: x\r\n\r\n\u00e4\u00f6\u00fc\r\n".encode()
    for size in (1, 4095, 4096, 4097, 131071, 262144, 300000, 5 * MIB):
        yield f"{size} octets", b"S: x\r\n\r\n" + (b"z" * 76 + b"\r\n") * (size // 78) + b"z" * (size % 78) + b"\r\n"


@pytest.mark.parametrize("name, wire", bodies(), ids=[name for name, _ in bodies()])
def test_the_octets_are_those_that_came(greenarrow, chunks, name, wire):
    sink = chunks()
    server = greenarrow(route=sink)
    with server.client() as client:
        client.ehlo()
        client.envelope()
        client.send(b"BDAT %d LAST\r\n" % len(wire) + wire)
        assert client.reply().code == 250
    message, = sink.wait_messages(1)
    assert message.chunked and "DATA" not in message.session.verbs()
    arrivals.assert_same(message.wire, wire)


def test_commands_go_as_one_and_the_message_when_somebody_takes_it(greenarrow, chunks):
    sink = chunks({"RCPT": "550 5.1.1 no"})
    server = greenarrow(route=sink)
    server.submit()
    server.wait_queue(failed=1)
    assert sink.sessions[0].verbs() == ["EHLO", "MAIL", "RCPT", "QUIT"]


def test_nobody_taken_then_reset_before_the_next(greenarrow, chunks):
    sink = chunks({"RCPT": Each("550 5.1.1 no", Default())})
    server = greenarrow(route=sink, everywhere="reuse_connections yes", ip="max_concurrent_connections 1")
    server.submit()
    server.wait_queue(failed=1)
    server.submit()
    message, = sink.wait_messages(1)
    assert message.session.verbs()[:6] == ["EHLO", "MAIL", "RCPT", "RSET", "MAIL", "RCPT"]


def test_a_refused_chunk_is_followed_by_a_reset(greenarrow, chunks):
    sink = chunks({"EOD": Each("554 5.6.0 no", Default())})
    server = greenarrow(route=sink, everywhere="reuse_connections yes", ip="max_concurrent_connections 1")
    server.submit()
    server.wait_queue(failed=1)
    server.submit()
    message, = sink.wait_messages(1)
    assert message.session.verbs() == ["EHLO", "MAIL", "RCPT", "BDAT", "RSET", "MAIL", "RCPT", "BDAT"]


def test_without_pipelining(greenarrow, chunks):
    sink = chunks(extensions=["CHUNKING"])
    server = greenarrow(route=sink)
    server.submit()
    assert sink.wait_messages(1)[0].session.verbs()[:4] == ["EHLO", "MAIL", "RCPT", "BDAT"]


def test_data_where_chunking_is_not_wanted_or_not_offered(greenarrow, chunks):
    sink, plain = chunks(), chunks(extensions=["PIPELINING"])
    server = greenarrow(everywhere=daemon.block("domain a.example", f"smtp_route {sink.address}\nsmtp_chunking no")
                        + daemon.block("domain b.example", f"smtp_route {plain.address}"))
    server.submit(recipients=["x@a.example", "x@b.example"])
    assert not sink.wait_messages(1)[0].chunked and not plain.wait_messages(1)[0].chunked


@pytest.mark.parametrize("offers, taken", [(OFFERS, True), (["CHUNKING", "8BITMIME"], False), (["8BITMIME", "BINARYMIME"], False), ([], False)])
def test_binary_mail_goes_by_bdat_or_not_at_all(greenarrow, chunks, offers, taken):
    sink = chunks(extensions=offers)
    server = greenarrow(route=sink, everywhere="smtp_chunking no")
    wire = b"S: x\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: binary\r\n\r\n\x00\r\n.\r\n\n\r" + bytes(range(256)) * 3000
    with server.client() as client:
        client.ehlo()
        client.envelope(parameters="BODY=BINARYMIME")
        client.send(b"BDAT %d LAST\r\n" % len(wire) + wire)
        assert client.reply().code == 250
    if taken:
        message, = sink.wait_messages(1)
        assert "BODY=BINARYMIME" in message.parameters
        arrivals.assert_same(message.wire, wire)
    else:
        server.wait_queue(failed=1)
        server.wait_log("does not offer BINARYMIME")
        assert not sink.attempts


def test_a_crash_repeats_no_more_than_with_data(greenarrow, chunks):
    """One transaction whose DONE is not durable: the next one keeps its last octet back (see test_crash.py for DATA)."""
    sink = chunks()
    server = greenarrow(route=sink, everywhere="reuse_connections yes\nreuse_connections_max_messages 1000", ip="max_concurrent_connections 1")
    for _ in range(50):
        server.submit()
    sink.wait_messages(25)
    server.kill()
    server.start()
    server.wait_empty()
    ids = [message.wire.split(b" id ")[1][:8] for message in sink.messages]
    assert len(set(ids)) == 50 and len(ids) <= 51


# --- what goes wrong ---

OUTCOMES = {
    "EOD-4xx": ({"EOD": "451 4.3.0 later"}, "deferred"),
    "EOD-5xx": ({"EOD": "554 5.6.0 no"}, "failed"),
    "EOD-closes": ({"EOD": Close()}, "deferred"),
    "EOD-resets": ({"EOD": Reset()}, "deferred"),
    "EOD-354": ({"EOD": "354 go on"}, "deferred"),
    "EOD-421": ({"EOD": "421 4.3.2 bye"}, "deferred"),
    "EOD-late": ({"EOD": [Delay(0.5), Default()]}, "delivered"),
    "EOD-silent": ({"EOD": Silence()}, "deferred"),
    "EOD-503": ({"EOD": "503 5.5.1 what chunk"}, "failed"),
    "body-closes": ({"body": Body(100, Close())}, "deferred"),
    "body-resets": ({"body": Body(100, Reset())}, "deferred"),
    "body-5xx": ({"body": Body(0, ["552 5.3.4 too much", Silence()])}, "failed"),
    "body-4xx": ({"body": Body(0, ["452 4.3.1 no room", Silence()])}, "deferred"),
    "body-250": ({"body": Body(0, ["250 2.0.0 fine", Silence()])}, "deferred"),
    "body-silent": ({"body": Body(0, Silence())}, "deferred"),
    "RCPT-and-more": ({"RCPT": b"250 ok\r\n250 what\r\n"}, "deferred"),
    "CHUNKING-gone-after-EHLO": ({"EOD": Lines(502, "5.5.1 BDAT?")}, "failed"),
}


@pytest.mark.parametrize("script, outcome", OUTCOMES.values(), ids=OUTCOMES)
def test_outcomes(greenarrow, chunks, script, outcome):
    sink = chunks(script)
    server = greenarrow(route=sink, retry="retry_schedule 1h", everywhere="smtp_dot_timeout 1s\nsmtp_data_block_timeout 1s")
    assert smtp.submit(server.address, corpus.simple() + b"more\r\n" * (700000 if "body" in script else 1)).code == 250
    if outcome == "delivered":
        server.wait_empty()
        assert len(sink.messages) == 1
    else:
        server.wait_queue(**({"failed": 1} if outcome == "failed" else {"disk": 1}))
        assert not sink.messages
