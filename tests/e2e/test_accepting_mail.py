"""SMTP in: what the server says to each command, in and out of order, and whom it relays for (RFC 5321, 1870, 2034, 2920, 6152)."""

import socket

import pytest

from gatest import corpus, need, smtp


@pytest.fixture
def server(greenarrow, sink):
    return greenarrow(route=sink)


def test_the_greeting_starts_with_our_name(server):
    with server.client() as client:
        assert client.banner.code == 220
        assert client.banner.lines[0].split()[0] == "mail.test.example"


def test_ehlo_offers_what_we_do_and_no_more(server):
    with server.client() as client:
        reply = client.ehlo()
        assert reply.lines[0].split()[0] == "mail.test.example"
        assert {"PIPELINING", "SIZE", "8BITMIME", "ENHANCEDSTATUSCODES", "CHUNKING", "BINARYMIME", "DSN", "SMTPUTF8"} <= set(client.extensions)
        assert not {"STARTTLS", "AUTH", "TURN", "ETRN", "VERB"} & set(client.extensions)


@pytest.mark.parametrize("command, code", [
    ("EHLO", 501), ("EHLO a b", 501), ("EHLO [127.0.0.1]", 250), ("EHLO [IPv6:::1]", 250), ("ehlo lower.example", 250),
    ("HELO", 501), ("HELO client.example", 250), ("EHLO no-such-host.invalid", 250),
])
def test_the_client_introduces_itself(server, command, code):
    with server.client() as client:
        assert client.cmd(command).code == code


@pytest.mark.parametrize("command, code, enhanced", [
    ("NOOP", 250, "2.0.0"), ("NOOP with an argument", 250, "2.0.0"), ("RSET", 250, "2.0.0"), ("rSeT", 250, "2.0.0"), ("HELP", 214, "2.0.0"),
    ("VRFY someone", 252, "2.5.0"), ("EXPN list", 502, "5.5.1"), ("TURN", 502, "5.5.1"), ("RSET now", 501, "5.5.4"),
    ("BLAH", 500, "5.5.2"), ("", 500, "5.5.2"), ("DATA", 503, "5.5.1"), ("RCPT TO:<b@receiver.example>", 503, "5.5.1"),
    ("STARTTLS", 454, "4.7.0"), ("MAIL", 501, "5.5.4"), ("MAIL FROM:a@sender.example", 501, "5.1.7"), ("MAILFROM:<a@sender.example>", 500, "5.5.2"),
    ("MAIL FROM:<a@sender.example> FOO=BAR", 555, "5.5.4"), ("MAIL FROM:<a@sender.example> SIZE=abc", 501, "5.5.4"),
    ("MAIL FROM:<a@sender.example> SIZE=1 SIZE=1", 501, "5.5.4"), ("MAIL FROM:<a@sender.example> BODY=9BIT", 501, "5.5.4"),
    ("MAIL FROM:<a@sender.example> SIZE=99999999999999999999", 552, "5.3.4"), ("MAIL FROM:<a@sender.example> SIZE=0", 250, "2.1.0"),
    ("MAIL FROM:<>", 250, "2.1.0"), ("MAIL FROM:<a@sender.example> BODY=8BITMIME SIZE=1000", 250, "2.1.0"),
    ("MAIL FROM:<\"quoted local\"@sender.example>", 250, "2.1.0"), ("MAIL FROM:<a..b@sender.example>", 501, "5.1.7"),
    ("MAIL FROM:<" + "x" * 65 + "@sender.example>", 501, "5.1.7"), ("mail from:<a@sender.example>", 250, "2.1.0"),
])
def test_each_command_has_its_answer(server, command, code, enhanced):
    with server.client() as client:
        client.ehlo()
        reply = client.cmd(command)
        assert (reply.code, reply.enhanced) == (code, enhanced), reply


def test_mail_needs_a_greeting_first(server):
    with server.client() as client:
        assert client.cmd("MAIL FROM:<a@sender.example>").code == 503


def test_after_helo_no_parameter_is_known(server):
    with server.client() as client:
        client.cmd("HELO client.example")
        assert client.cmd("MAIL FROM:<a@sender.example> SIZE=10").code in (501, 555)


def test_a_second_mail_in_a_transaction_is_refused_and_the_first_one_stands(server, sink):
    with server.client() as client:
        client.ehlo()
        client.envelope()
        assert client.cmd("MAIL FROM:<other@sender.example>").code == 503
        assert client.data(corpus.simple()).code == 250
    assert sink.wait_messages(1)[0].sender == "a@sender.example"


@pytest.mark.parametrize("word", ["RSET", "EHLO again.example", "HELO again.example"])
def test_a_reset_forgets_the_transaction(server, word):
    with server.client() as client:
        client.ehlo()
        client.envelope()
        assert client.cmd(word).code == 250
        assert client.cmd("DATA").code == 503


@pytest.mark.parametrize("recipient, code, enhanced", [
    ("<b@receiver.example>", 250, "2.1.5"), ("<postmaster>", 250, "2.1.5"), ("<PostMaster>", 250, "2.1.5"), ("<@hop.example,@hop2.example:b@receiver.example>", 250, "2.1.5"),
    ("<\"b c\"@receiver.example>", 250, "2.1.5"), ("<b@[127.0.0.9]>", 250, "2.1.5"), ("<>", 501, "5.1.3"), ("<b>", 501, "5.1.3"), ("<b@>", 501, "5.1.3"),
    ("<.b@receiver.example>", 501, "5.1.3"), ("<b.@receiver.example>", 501, "5.1.3"), ("<b@receiver..example>", 501, "5.1.3"), ("<b\x01@receiver.example>", 501, None),
    ("<b@" + "x" * 64 + ".example>", 501, "5.1.3"), ("b@receiver.example", 501, "5.1.3"), ("<b@receiver.example", 501, None), ("<b@receiver.example> FOO=1", 555, "5.5.4"),
])
def test_each_recipient_has_its_answer(server, recipient, code, enhanced):
    with server.client() as client:
        client.ehlo()
        client.cmd("MAIL FROM:<a@sender.example>")
        reply = client.cmd(f"RCPT TO:{recipient}")
        assert reply.code == code and enhanced in (None, reply.enhanced), reply


@pytest.mark.parametrize("recipient", [
    "<b@receiver.example>", "<b%receiver.example@mail.test.example>", "<receiver.example!b>", "<@mail.test.example:b@receiver.example>", "<\"b@receiver.example\">",
    "<\"b@receiver.example\"@mail.test.example>", "<b@[127.0.0.9]>", "<b@receiver.example@mail.test.example>", "<b@mail.test.example>",
])
def test_nobody_relays_from_outside_of_relay_from(greenarrow, sink, recipient):
    server = greenarrow(route=sink, service="relay_from 127.0.0.99/32")
    with server.client() as client:
        client.ehlo()
        client.cmd("MAIL FROM:<a@sender.example>")
        reply = client.cmd(f"RCPT TO:{recipient}")
        assert reply.code in (550, 501, 553), reply
        if recipient == "<b@receiver.example>":
            assert (reply.code, reply.enhanced) == (550, "5.7.1")
        assert client.cmd("DATA").code in (503, 554)
    assert not sink.sessions


def test_relay_from_opens_the_door_for_its_addresses_alone(greenarrow, sink):
    server = greenarrow(route=sink, service="relay_from 127.0.0.99/32")
    with smtp.Smtp(server.address, source=("127.0.0.99", 0)) as client:
        client.ehlo()
        client.envelope()
        assert client.data(corpus.simple()).code == 250
    sink.wait_messages(1)


def test_an_over_long_command_is_refused_and_the_session_goes_on(server):
    with server.client() as client:
        client.ehlo()
        assert client.cmd("NOOP " + "x" * 600).code == 500
        assert client.cmd("NOOP").code == 250
        assert client.cmd("VRFY " + "x" * 8000).code == 500
        assert client.cmd("NOOP").code == 250


def test_a_line_that_never_ends_is_cut_off(server):
    with server.client() as client:
        client.ehlo()
        with pytest.raises((ConnectionError, smtp.Disconnected)):
            for _ in range(2000):
                client.send(b"x" * 65536)
            client.reply()
            client.reply()
            raise AssertionError("130 MB without a line end were taken")


def test_bare_line_feeds_end_no_command(server):
    with server.client() as client:
        client.send(b"EHLO client.example\nMAIL FROM:<a@sender.example>\r\n")
        assert client.reply().code // 100 == 5


def test_a_browser_is_hung_up_on(server):
    with server.client() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: mail.test.example\r\n\r\nEHLO x\r\n")
        assert client.closed_by_server()


def test_replies_come_in_order_one_for_each_pipelined_command(server, sink):
    wire = corpus.simple()
    group = b"EHLO client.example\r\nMAIL FROM:<a@sender.example>\r\nRCPT TO:<b@receiver.example>\r\nRCPT TO:<bad>\r\nRCPT TO:<c@receiver.example>\r\nNOOP\r\nDATA\r\n"
    with server.client() as client:
        client.send(group)
        assert [client.reply().code for _ in range(7)] == [250, 250, 250, 501, 250, 250, 354]
        client.send(corpus.stuffed(wire) + b"MAIL FROM:<a@sender.example>\r\nRSET\r\nQUIT\r\n")
        assert [client.reply().code for _ in range(4)] == [250, 250, 250, 221]
        assert client.closed_by_server()
    message = sink.wait_messages(1)[0]
    recipients = sorted(r for m in sink.messages for r in m.recipients)
    assert message.sender == "a@sender.example" and recipients == ["b@receiver.example", "c@receiver.example"]


def test_a_session_sent_one_octet_at_a_time_is_understood(server, sink):
    wire = corpus.sample("08-leading-dots").wire
    session = (b"EHLO client.example\r\nMAIL FROM:<a@sender.example>\r\nRCPT TO:<b@receiver.example>\r\nDATA\r\n", corpus.stuffed(wire) + b"QUIT\r\n")
    with server.client() as client:
        for part, codes in zip(session, ([250, 250, 250, 354], [250, 221])):
            for octet in part:
                client.send(bytes([octet]))
            assert [client.reply().code for _ in codes] == codes
    assert sink.wait_messages(1)[0].wire.endswith(wire)


def test_many_pipelined_recipients_block_nobody(server):
    """1 MB of RCPT from a client that reads no reply until all is sent: no deadlock, no lost reply."""
    count = 1000
    with server.client() as client:
        client.ehlo()
        client.send(b"MAIL FROM:<a@sender.example>\r\n" + b"".join(b"RCPT TO:<%s%d@receiver.example>\r\n" % (b"x" * 50, i) for i in range(count)) + b"RSET\r\n")
        codes = [client.reply().code for _ in range(count + 2)]
        assert codes == [250] * (count + 2)


def test_one_recipient_too_many_is_told_to_come_again(greenarrow, sink):
    server = greenarrow(route=sink, service="max_recipients 3")
    with server.client() as client:
        client.ehlo()
        client.envelope(recipients=[f"r{i}@receiver.example" for i in range(3)])
        reply = client.cmd("RCPT TO:<r4@receiver.example>")
        assert (reply.code, reply.enhanced) == (452, "4.5.3")
        assert client.data(corpus.simple()).code == 250
    sink.wait_for(lambda: sum(len(m.recipients) for m in sink.messages) == 3)


def test_a_message_over_the_limit_is_refused_by_its_size_or_by_its_octets(greenarrow, sink):
    server = greenarrow(route=sink, service="max_message_size 10KiB")
    with server.client() as client:
        client.ehlo()
        assert client.extensions["SIZE"] == "10240"
        reply = client.cmd("MAIL FROM:<a@sender.example> SIZE=10241")
        assert (reply.code, reply.enhanced) == (552, "5.3.4")
        client.envelope(parameters="SIZE=10")
        reply = client.data(corpus.simple(body="x" * 70 + "\r\n" * 5100))
        assert (reply.code, reply.enhanced) == (552, "5.3.4")
        client.envelope()
        fits = corpus.simple()
        fits += b"." * (10240 - len(fits) - 2) + b"\r\n"
        assert client.data(fits).code == 250, "dots added for transport do not count"
    assert sink.wait_messages(1)[0].wire.endswith(fits)
    assert len(sink.messages) == 1


def test_data_without_a_valid_recipient_is_refused(greenarrow, sink):
    server = greenarrow(route=sink, service="relay_from 127.0.0.99/32")
    with server.client() as client:
        client.ehlo()
        client.send(b"MAIL FROM:<a@sender.example>\r\nRCPT TO:<b@receiver.example>\r\nDATA\r\n")
        assert [client.reply().code for _ in range(3)] == [250, 550, 554]


def test_a_client_that_makes_too_many_mistakes_is_sent_away(greenarrow, sink):
    server = greenarrow(route=sink, service="max_errors 5")
    with server.client() as client:
        client.ehlo()
        codes = []
        for _ in range(7):
            codes.append(client.cmd("BLAH").code)
            if codes[-1] == 421:
                break
        assert codes[-1] == 421 and len(codes) <= 6 and set(codes[:-1]) == {500}
        assert client.closed_by_server()


def test_more_connections_than_allowed_get_421(greenarrow, sink):
    server = greenarrow(route=sink, service="max_connections 3")
    clients = [server.client() for _ in range(3)]
    with server.client() as one_more:
        assert one_more.banner.code == 421 and one_more.banner.enhanced == "4.3.2"
        assert one_more.closed_by_server()
    clients.pop().close()
    for _ in range(50):
        with server.client() as again:
            if again.banner.code == 220:
                break
    assert again.banner.code == 220
    for client in clients:
        client.close()


def test_one_client_cannot_take_all_connections(greenarrow, sink):
    server = greenarrow(route=sink, service="relay_from 127.0.0.99/32\nmax_connections_per_client 2")
    two = [server.client(source=("127.0.0.50", 0)) for _ in range(2)]
    with server.client(source=("127.0.0.50", 0)) as third, server.client(source=("127.0.0.51", 0)) as other:
        assert (third.banner.code, third.banner.enhanced) == (421, "4.7.0")
        assert other.banner.code == 220
    for client in two:
        client.close()


def test_a_silent_client_is_told_so_and_dropped(greenarrow, sink):
    server = greenarrow(route=sink, service="smtpd_timeout 1s")
    with server.client() as client:
        client.ehlo()
        assert client.reply().code == 421
        assert client.closed_by_server()


def test_an_octet_now_and_then_does_not_extend_the_time_for_a_command(greenarrow, sink):
    server = greenarrow(route=sink, service="smtpd_timeout 2s")
    with server.client() as client:
        client.ehlo()
        client.sock.settimeout(0.3)
        code = None
        for _ in range(30):
            try:
                client.send(b"N")
                code = client.reply().code
                break
            except TimeoutError:
                continue
        assert code == 421


def test_it_listens_on_ipv6_too(greenarrow, sink):
    from gatest import ports
    try:
        port = ports.free_port("::1")
    except RuntimeError:
        need.missing("IPv6 on loopback")
    server = greenarrow(route=sink, listen=[f"[::1]:{port}"])
    assert smtp.submit(("::1", port), corpus.simple()).code == 250
    assert b"IPv6:::1" in sink.wait_messages(1)[0].wire


def test_quit_is_answered_and_the_server_closes(server):
    with server.client() as client:
        assert client.cmd("QUIT").code == 221
        assert client.closed_by_server()


def test_a_connection_that_dies_within_the_data_leaves_no_message(server, sink):
    for abort in (False, True):
        client = server.client()
        client.ehlo()
        client.envelope()
        client.cmd("DATA")
        client.send(b"Subject: half\r\n\r\nhalf a mess")
        if abort:
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
    server.submit()
    sink.wait_messages(1)
    server.wait_empty()
    assert len(sink.messages) == 1 and server.queue()["accepted_total"] == 1


def test_the_received_field_says_from_by_with_id_for_and_when(server, sink):
    reply = server.submit(corpus.simple())
    field = sink.wait_messages(1)[0].wire.split(b"\r\n")
    text = field[0].decode()
    for line in field[1:]:
        if line[:1] not in (b" ", b"\t"):
            break
        text += line.decode()
    words = " ".join(text.split())
    import re
    assert re.fullmatch(r"Received: from client\.example \(.*\[127\.0\.0\.1\].*\) by mail\.test\.example .*with ESMTP id (\w+) for <b@receiver\.example>; "
                        r"\w{3}, \d{1,2} \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}( \(\w+\))?", words), words
    identity = re.search(r" id (\w+)", words)[1]
    assert identity in reply.text


def test_the_received_field_names_no_recipient_when_there_are_several(server, sink):
    server.submit(recipients=["b@receiver.example", "c@receiver.example"])
    head = sink.wait_messages(1)[0].wire.split(b"Message-ID")[0]
    assert b"receiver.example" not in head


@pytest.mark.parametrize("hops, accepted", [(99, True), (110, False)])
def test_a_message_that_went_round_too_often_is_refused(server, hops, accepted):
    reply = smtp.submit(server.address, b"Received: from x by y; Mon, 3 Mar 2025 09:15:02 +0100\r\n" * hops + corpus.simple())
    assert (reply.code == 250) is accepted
    if not accepted:
        assert (reply.code, reply.enhanced) == (554, "5.4.6")
