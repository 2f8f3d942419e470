"""Header fields by which senders choose a VirtualMTA and name their campaign: obeyed, and never seen by a receiver."""

import random

import pytest

from gatest import arrivals, daemon
from gatest.badsink import Default
from test_auth import entry, plain, write_users

STRANGER = "relay_from 192.0.2.1\nrelay_domains receiver.example"
SECOND = daemon.block("ip_address ip-2", "mta_id 7\nsmtp_source 127.0.0.9 mail2.test.example\nretry_schedule 1s, 2s")
PLAIN = b"From: a@sender.example\r\nSubject: x\r\n\r\nX-GreenArrow-SendID: body\r\n.dot\r\n"
NAMED = (b"X-GreenArrow-MtaID: ip-2\r\nX-GreenArrow-MailClass: news\r\nx-greenarrow-sendid: s1\r\nX-GreenArrow-SendID:\r\n again\r\n"
         b"X-GreenArrow-ListID: l1\r\nX-GreenArrow-InstanceID: 24a\r\nX-GreenArrow-Click-Tracking-ID: c1\r\n")


def with_fields(fields, wire=PLAIN):
    """The fields behind the first of the header's own."""
    first, rest = wire.split(b"\r\n", 1)
    return first + b"\r\n" + fields + rest


def arrived(sink, count=1):
    return sink.wait_messages(count)[count - 1]


def source(message):
    return message.session.peer[0]


def attributes(server):
    """What `greenarrow queue_check --list` says of a queue that nobody works on."""
    done = server.run("greenarrow", "queue_check", "--list")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name, address", [("ip-2", "127.0.0.9"), ("IP-2", "127.0.0.9"), ("7", "127.0.0.9"), ("ip-1", "127.0.0.2"), ("", "127.0.0.2")])
def test_a_virtualmta_is_chosen_by_name_and_by_number(greenarrow, sink, name, address):
    server = greenarrow(route=sink, top=SECOND)
    server.submit(with_fields(b"X-GreenArrow-MtaID: %s\r\n" % name.encode()))
    message = arrived(sink)
    assert source(message) == address
    arrivals.assert_same(message.wire, PLAIN)


@pytest.mark.parametrize("name", ["ip-3", "99"])
def test_an_unknown_virtualmta_is_the_default_and_a_line_in_the_log(greenarrow, sink, name):
    server = greenarrow(route=sink, top=SECOND)
    server.submit(with_fields(b"X-GreenArrow-MtaID: %s\r\n" % name.encode()))
    assert source(arrived(sink)) == "127.0.0.2"
    server.wait_log(f'unknown VirtualMTA "{name}".*GA-RTE-0001')


def test_strangers_choose_nothing_and_lose_the_fields(greenarrow, sink):
    server = greenarrow(route=sink, top=SECOND, service=STRANGER)
    server.submit(with_fields(NAMED))
    message = arrived(sink)
    assert source(message) == "127.0.0.2"
    arrivals.assert_same(message.wire, PLAIN)
    server.submit(with_fields(b"X-GreenArrow-ListID: not a list\r\n"))
    arrivals.assert_same(arrived(sink, 2).wire, PLAIN)


@pytest.mark.parametrize("way", ["data", "bdat"])
def test_a_large_message_loses_them_before_it_goes_to_the_spool(greenarrow, sink, way):
    server = greenarrow(route=sink, top=SECOND)
    filler = b"".join(b"X-Filler: %060d\r\n" % n for n in range(5000))       # 350 KB: nothing goes out before the header is whole
    for count, head in enumerate((b"", filler), 1):
        wire = head + PLAIN + b"y" * 900 + b"\r\n" + (b"z" * 70 + b"\r\n") * 15000
        with server.client() as client:
            client.ehlo()
            client.envelope()
            sent = with_fields(NAMED, wire)
            replies = [client.data(sent)] if way == "data" else client.bdat(sent, 50000)
            assert {reply.code for reply in replies} == {250}, replies
        message = arrived(sink, count)
        assert source(message) == "127.0.0.9"
        arrivals.assert_same(message.wire, wire)


@pytest.mark.parametrize("size", [0, 600000])
def test_a_value_that_breaks_its_rule_is_refused_with_the_field_named(greenarrow, sink, size):
    server = greenarrow(route=sink)
    with server.client() as client:
        client.ehlo()
        client.envelope()
        reply = client.data(with_fields(b"X-GreenArrow-SendID: gr\xfcn\r\n") + (b"z" * 70 + b"\r\n") * (size // 72))
        assert (reply.code, reply.enhanced) == (550, "5.6.0") and "X-GreenArrow-SendID" in reply.text
        client.envelope()
        assert client.data(PLAIN).code == 250
    arrivals.assert_same(arrived(sink).wire, PLAIN)


@pytest.mark.parametrize("setting, address", [("yes", "127.0.0.9"), ("no", "127.0.0.2")])
@pytest.mark.parametrize("place", ["general", "service"])
def test_x_virtual_mta_counts_where_it_is_on(greenarrow, sink, setting, address, place):
    server = greenarrow(route=sink, top=SECOND, **{place: f"process_x_virtual_mta_header {setting}"})
    sent = with_fields(b"x-virtual-mta: ip-2\r\n")
    server.submit(sent)
    message = arrived(sink)
    assert source(message) == address
    arrivals.assert_same(message.wire, PLAIN if setting == "yes" else sent)
    server.submit(with_fields(b"X-Virtual-MTA: ip-2\r\nX-GreenArrow-MtaID: ip-1\r\n"))
    assert source(arrived(sink, 2)) == "127.0.0.2"


def test_they_are_kept_with_the_message_and_not_in_it(greenarrow, sinks):
    sink = sinks({"RCPT": "450 4.2.0 later"})
    server = greenarrow(route=sink, top=SECOND, retry="retry_schedule 1h")
    server.submit(with_fields(NAMED))
    server.wait_queue(disk=1)
    server.stop()
    listed = attributes(server)
    for wanted in ("virtual_mta=ip-2", "mail_class=news", "send_id=s1", "list_id=l1", "instance_id=24a", "click_tracking_id=c1"):
        assert wanted in listed
    spool = b"".join(path.read_bytes() for path in (server.folder / "queue").rglob("*.seg"))
    assert b"Subject: x" in spool and b"again" not in spool and b"X-GreenArrow-MtaID" not in spool
    well = sinks()
    server.change(route=well)
    server.start()
    message = arrived(well)
    assert source(message) == "127.0.0.9"
    arrivals.assert_same(message.wire, PLAIN)


def test_a_returned_message_does_not_show_them(greenarrow, sinks):
    sink = sinks({"RCPT": lambda session, line: Default() if b"sender.example" in line else "550 5.1.1 no such user"})
    server = greenarrow(route=sink, top=SECOND, bounce=True)
    server.submit(with_fields(NAMED))
    report = arrived(sink)
    assert report.sender == "" and PLAIN.split(b"\r\n\r\n")[0] in report.wire
    assert b"greenarrow-mtaid" not in report.wire.lower() and b"again" not in report.wire


def test_the_mail_class_of_a_user_goes_before_that_of_the_header(greenarrow, sinks):
    sink = sinks({"RCPT": "450 4.2.0 later"})
    server = greenarrow(start=False, route=sink, retry="retry_schedule 1h", top=SECOND,
                        service="relay_from 192.0.2.1\nsmtp_auth optional\nsmtp_auth_without_tls yes")
    write_users(server, entry(server, "bob", "--mail-class=forced"))
    server.start()
    with server.client() as client:
        client.ehlo()
        assert client.cmd("AUTH PLAIN " + plain("bob", "correct horse battery")).code == 235
        client.envelope()
        assert client.data(with_fields(NAMED)).code == 250
    server.wait_queue(disk=1)
    server.stop()
    listed = attributes(server)
    assert "mail_class=forced" in listed and "mail_class=news" not in listed and "virtual_mta=ip-2" in listed


def test_messages_without_them_pass_octet_for_octet(greenarrow, sink):
    server = greenarrow(route=sink, general="process_x_virtual_mta_header yes")
    draw = random.Random(11)
    pieces = [b"X-GreenArrow-Other: a\r\n", b"X-Virtual-MTAs: b\r\n", b"Subject: x\r\n X-GreenArrow-SendID: fold\r\n", b"X-: y\r\n", b"To: b@receiver.example\r\n",
              b"X-GreenArrow: " + b"f" * 900 + b"\r\n", b"no field at all\r\n"]
    wires = [b"From: a@sender.example\r\n" + b"".join(draw.choices(pieces, k=draw.randrange(60))) + b"\r\n"
             + b"".join(draw.choices(pieces + [NAMED, b".\r\n", b"\r\n"], k=draw.randrange(30))) for _ in range(40)]
    with server.client() as client:
        client.ehlo()
        for wire in wires:
            client.envelope()
            assert client.data(wire).code == 250
    left = [arrivals.below_ours(message.wire) for message in sink.wait_messages(len(wires))]
    assert sorted(left) == sorted(wires)
