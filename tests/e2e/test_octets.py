"""What is delivered is what was sent, octet for octet, but for one Received field of ours."""

import re
import smtplib
import time

import pytest

from gatest import arrivals, clients, corpus, smtp

DOMAINS = {"postfix": "postfix.example", "exim": "exim.example", "opensmtpd": "opensmtpd.example"}


def routes(receivers):
    """A static next hop for the domain of each receiver."""
    return "\n".join(f"domain {DOMAINS[name]} {{\n  smtp_route {one.address}\n}}" for name, one in receivers.items())


@pytest.fixture(scope="module")
def through(request, receivers):
    """One daemon for the whole matrix; it sends each recipient's domain to its receiver."""
    from gatest import daemon
    # OpenSMTPD now and then takes a connection and never greets: then another one is made soon
    one = daemon.Daemon(everywhere="smtp_greeting_timeout 5s\n" + routes(receivers)).start()
    yield one
    one.stop()
    one.remove()


RECEIVED = (b"Received: from client.example ([127.0.0.1])\r\n\tby mail.test.example with ESMTP id 00000000;\r\n"
            b"\tWed, 25 Nov 2026 12:00:00 +0000\r\n")


def without_us(receiver, wire, recipient):
    """What RECEIVER stores when it gets WIRE under a Received field like ours from the test itself; None: it refuses it."""
    try:
        clients.smtplib_client((receiver.host, receiver.port), RECEIVED + wire, [recipient])
    except smtplib.SMTPResponseException:
        return None
    return receiver.delivered(recipient)[0]


def assert_arrived(receiver, recipient, message):
    """Stored once and as it was sent; or as the receiver stores it without us; or refused as without us."""
    try:
        arrived = receiver.delivered(recipient, timeout=2)
        assert len(arrived) == 1, f"{len(arrived)} copies"
        return arrivals.assert_same(arrived[0], message.wire, receiver.adds)
    except AssertionError:
        reference = without_us(receiver, message.wire, "without-us-" + recipient)
        if reference is None:
            assert recipient not in receiver.box, "delivered, though the receiver refuses such a message"
            return
        arrived = receiver.delivered(recipient)
        assert len(arrived) == 1, f"{len(arrived)} copies"
        arrivals.assert_same_as_without_us(arrived[0], reference, message.wire)


def assert_all_arrive(through, receivers, send, messages, tag):
    """Hand each message in once for a recipient at each receiver; what each stored has to be what was sent."""
    for number, message in enumerate(messages):
        send(through.address, message.wire, [f"{tag}{number}@{domain}" for domain in DOMAINS.values()])
    through.wait_settled()
    problems = []
    for number, message in enumerate(messages):
        for name, receiver in receivers.items():
            try:
                assert_arrived(receiver, f"{tag}{number}@{DOMAINS[name]}", message)
            except AssertionError as problem:
                problems.append(f"{message.name} at {name}: {problem}")
    assert not problems, "\n".join(problems)


@pytest.mark.slow
@pytest.mark.parametrize("client", clients.ALL)
def test_samples_from_each_client_arrive_unchanged_at_postfix_exim_and_opensmtpd(through, receivers, client):
    assert_all_arrive(through, receivers, clients.ALL[client], corpus.samples(), f"s-{client}-")


@pytest.mark.slow
def test_real_mail_arrives_unchanged_at_postfix_exim_and_opensmtpd(through, receivers):
    messages = corpus.shared_mail()
    if not messages:
        pytest.skip("no folder of real mail here (GA_SHARED_MAIL)")
    assert_all_arrive(through, receivers, clients.ALL["smtplib"], messages, "real-")


@pytest.mark.heavy
@pytest.mark.parametrize("client", clients.ALL)
def test_real_mail_from_each_client_arrives_unchanged(through, receivers, client):
    messages = corpus.shared_mail()
    if not messages:
        pytest.skip("no folder of real mail here (GA_SHARED_MAIL)")
    assert_all_arrive(through, receivers, clients.ALL[client], messages, f"h-{client}-")


def test_mail_of_postfix_smtp_source_arrives_complete(through, receivers):
    clients.smtp_source(through.address, receivers["postfix"], count=40, size=3000, sessions=4, recipient="source@postfix.example")
    arrived = receivers["postfix"].delivered("source@postfix.example", count=40)
    assert len(arrived) == 40
    bodies = {message.split(b"\r\n\r\n", 1)[1] for message in arrived}
    assert len(bodies) == 1 and len(bodies.pop()) > 2500


def test_every_sample_leaves_us_dot_stuffed_and_otherwise_unchanged(greenarrow, sink):
    server = greenarrow(route=sink)
    for message in corpus.mail_corpus():
        before = len(sink.messages)
        server.submit(message.wire)
        sink.wait_messages(before + 1)
        arrived = sink.messages[-1]
        arrivals.assert_same(arrived.wire, message.wire)
        assert arrived.stuffed + b".\r\n" == corpus.stuffed(arrived.wire), f"{message}: dots are not stuffed once each"
        bare = arrived.stuffed.replace(b"\r\n", b"")
        assert b"\r" not in bare and b"\n" not in bare


def test_every_sample_arrives_unchanged_when_it_is_read_back_from_the_spool(greenarrow, sinks):
    """First attempt deferred, daemon restarted: nothing of the message is left in memory."""
    late = sinks(listening=False)
    server = greenarrow(route=late, retry="retry_schedule 2s")
    messages = corpus.samples()
    for message in messages:
        server.submit(message.wire)
    server.wait_queue(disk=len(messages))
    server.stop()
    late.open()
    server.start()
    late.wait_messages(len(messages), timeout=60)
    for message in messages:
        identity = re.search(rb"(?im)^message-id: *(\S+)", message.wire)[1]
        arrived = [one for one in late.messages if identity in one.wire.split(b"\r\n\r\n")[0]]
        assert len(arrived) == 1, f"{message}: {len(arrived)} copies"
        arrivals.assert_same(arrived[0].wire, message.wire)
    server.wait_empty()


@pytest.mark.parametrize("wire", [b".\r\n", b"\r\n", b"..\r\n", b"\r\n.\r\n", b".\r\n.\r\n.\r\n", b"Subject: x\r\n\r\n" + b".\r\n" * 1000, b"no header at all\r\n",
                                  b"Subject: x\r\n.header that starts with a dot: y\r\n\r\n.\r\n", b""])
def test_odd_messages_pass_unchanged(greenarrow, sink, wire):
    server = greenarrow(route=sink)
    server.submit(wire)
    arrived = sink.wait_messages(1)[0].wire
    top = arrivals.added_fields(arrived, wire)
    assert len(top) == 1 and arrivals.is_our_received(top[0])


@pytest.mark.parametrize("size", [1, 255 * 1024, 256 * 1024, 257 * 1024, 1024 * 1024 + 1, 5_000_000])
def test_messages_of_all_sizes_pass_unchanged(greenarrow, sink, size):
    server = greenarrow(route=sink)
    body = (b"." + b"0123456789" * 7 + b"\r\n") * (size // 73) + b"x" * (size % 73) + b"\r\n"
    wire = b"Subject: size\r\n\r\n" + body
    server.submit(wire)
    arrivals.assert_same(sink.wait_messages(1, timeout=60)[0].wire, wire)


def test_a_dot_at_every_place_where_buffers_may_end_is_stuffed(greenarrow, sink):
    server = greenarrow(route=sink)
    wire = b"Subject: x\r\n\r\n" + b"".join(b"x" * (n % 97) + b"\r\n" + b"." * (n % 4) + b"\r\n" for n in range(4000))
    server.submit(wire)
    message = sink.wait_messages(1)[0]
    arrivals.assert_same(message.wire, wire)
    assert message.stuffed + b".\r\n" == corpus.stuffed(message.wire)


def test_data_in_pieces_of_every_size_arrives_whole(greenarrow, sink):
    server = greenarrow(route=sink)
    wire = corpus.sample("08-leading-dots").wire
    octets = corpus.stuffed(wire)
    for size in (1, 2, 3, 5, 7, 100):
        with server.client() as client:
            client.ehlo()
            client.envelope()
            client.cmd("DATA")
            for i in range(0, len(octets), size):
                client.send(octets[i:i + size])
            assert client.reply().code == 250
    for message in sink.wait_messages(6):
        arrivals.assert_same(message.wire, wire)


@pytest.mark.parametrize("more", [0, 1, 100, 262144])
def test_a_large_message_whose_end_comes_late_arrives_whole(greenarrow, sink, more):
    """All of it is with the spool already when the end of data comes: what is left in memory is nothing, not the message."""
    server = greenarrow(route=sink)
    line = b"y" * 62 + b"\r\n"
    wire = b"Subject: large\r\n\r\n" + line * ((262144 + more) // len(line) + 1)
    with server.client() as client:
        client.ehlo()
        client.envelope()
        assert client.cmd("DATA").code == 354
        client.send(wire)
        time.sleep(0.5)
        client.send(b".\r\n")
        assert client.reply().code == 250
    arrivals.assert_same(sink.wait_messages(1)[0].wire, wire)


def test_8_bit_mail_is_announced_where_8bitmime_is_offered(greenarrow, sinks):
    offering = sinks()
    server = greenarrow(route=offering)
    server.submit(corpus.sample("04-eight-bit-utf8").wire, parameters="BODY=8BITMIME")
    assert "BODY=8BITMIME" in offering.wait_messages(1)[0].parameters.upper()


def test_size_is_told_where_it_is_offered(greenarrow, sink):
    server = greenarrow(route=sink)
    server.submit()
    message = sink.wait_messages(1)[0]
    told = int(re.search(r"SIZE=(\d+)", message.parameters)[1])
    assert told == len(message.wire)


def test_a_message_over_the_announced_size_fails_without_being_sent(greenarrow, sinks):
    small = sinks(extensions=["SIZE 1000"])
    server = greenarrow(route=small)
    server.submit(corpus.simple(body="x" * 70 + "\r\n" + "y" * 2000 + "\r\n"))
    server.wait_queue(failure_total=1)
    assert not small.attempts


def test_the_envelope_goes_out_as_it_came_in(greenarrow, sink):
    server = greenarrow(route=sink)
    pairs = [("", "b@receiver.example"), ("\"quoted local\"@sender.example", "\"b c\"@receiver.example"), ("A.Mixed+tag@Sender.Example", "B_Mixed=x@Receiver.Example"),
             ("a'b`c|d@sender.example", "$x{y}#z!%/?^~@receiver.example")]
    for sender, recipient in pairs:
        assert smtp.submit(server.address, corpus.simple(), sender=sender, recipients=[recipient]).code == 250
    got = [(m.sender, m.recipients[0]) for m in sink.wait_messages(len(pairs))]
    assert sorted(got) == sorted(pairs)
