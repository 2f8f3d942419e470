"""What senders are told: of failures, delays and deliveries (RFC 3464, 3461), once, and never about a report."""

import email
import email.policy
import re
import time

import pytest

from gatest import arrivals, corpus, daemon
from gatest.badsink import Each, Default, Lines

ORIGINAL = b"From: a@sender.example\r\nSubject: hello\r\nX-Mark: 7\r\n\r\n.dots\r\n..more\r\n"
REFUSE = {"RCPT": lambda session, line: Default() if b"sender.example" in line or b"postmaster" in line else "550 5.1.1 no such user"}


class Report:
    """A message that came to a sink, read as the report it should be."""

    def __init__(self, message):
        assert message.sender == "", "the null sender"
        self.wire, self.recipients = message.wire, message.recipients
        self.mail = email.message_from_bytes(message.wire, policy=email.policy.default)
        assert not self.mail.defects, self.mail.defects
        assert self.mail.get_content_type() == "multipart/report"
        assert self.mail.get_param("report-type") == "delivery-status"
        assert self.mail["Auto-Submitted"] == "auto-replied"
        for name in ("Date", "Message-ID", "From", "To", "Subject", "MIME-Version"):
            assert len(self.mail.get_all(name)) == 1, name
        self.parts = list(self.mail.iter_parts())
        assert self.parts[0].get_content_type() == "text/plain"
        self.text = self.parts[0].get_content()
        assert self.parts[1].get_content_type() in ("message/delivery-status", "message/global-delivery-status")
        self.about, *self.each = self.fields()
        assert all(len(line) <= 998 for line in message.wire.split(b"\r\n"))

    def fields(self):
        """The groups of fields of the second part, unfolded."""
        groups = [re.sub(r"\r\n[ \t]+", " ", group) for group in self.part(2).decode().strip("\r\n").split("\r\n\r\n")]
        return [dict(line.split(": ", 1) for line in group.split("\r\n")) for group in groups]

    def part(self, number):
        """The octets of a part, without its header."""
        raw = self.wire.split(b"--" + self.mail.get_boundary().encode())[number]
        return raw.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n")

    @property
    def returned(self):
        return self.part(3)


def reports(sink, count=1):
    return [Report(message) for message in sink.wait_messages(count)]


@pytest.fixture
def refusing(greenarrow, sinks):
    """A daemon that reports, and its only receiver, which knows nobody but the sender."""
    def make(script=None, **arguments):
        sink = sinks(REFUSE if script is None else script)
        return greenarrow(route=sink, **{"bounce": True, "retry": "retry_schedule 1h", **arguments}), sink
    return make


def test_a_failure_is_reported_to_the_sender(refusing):
    server, sink = refusing()
    server.submit(ORIGINAL)
    report, = reports(sink)
    assert report.recipients == ["a@sender.example"]
    assert report.mail["To"] == "a@sender.example"
    assert "Undelivered" in report.mail["Subject"]
    assert report.about["Reporting-MTA"] == "dns; mail.test.example"
    assert report.about["Received-From-MTA"] == "dns; [127.0.0.1]"
    assert "Arrival-Date" in report.about
    one, = report.each
    assert one["Final-Recipient"] == "rfc822; b@receiver.example"
    assert (one["Action"], one["Status"]) == ("failed", "5.1.1")
    assert one["Remote-MTA"] == f"dns; [{sink.host}]"
    assert one["Diagnostic-Code"] == "smtp; 550 5.1.1 no such user"
    assert "Last-Attempt-Date" in one
    assert "b@receiver.example" in report.text and "550 5.1.1 no such user" in report.text
    assert report.parts[2].get_content_type() == "message/rfc822"
    arrivals.assert_same(report.returned, ORIGINAL)
    queue = server.wait_empty()
    assert (queue["failure_total"], queue["success_total"], queue["failed"]) == (1, 1, 0)
    server.wait_log("GA-BNC-0001")


def test_all_who_failed_at_once_are_in_one_report(refusing):
    server, sink = refusing()
    server.submit(recipients=[f"b{i}@receiver.example" for i in range(50)])
    report, = reports(sink)
    assert sorted(one["Final-Recipient"] for one in report.each) == sorted(f"rfc822; b{i}@receiver.example" for i in range(50))
    server.wait_empty()
    assert len(sink.messages) == 1


def test_those_who_were_reached_are_not_in_it(refusing):
    server, sink = refusing({"RCPT": lambda session, line: "550 no" if b"<bad" in line else Default()})
    server.submit(recipients=["good@receiver.example", "bad@receiver.example"])
    sink.wait_messages(2)
    report = Report(next(message for message in sink.messages if not message.sender))
    one, = report.each
    assert (one["Final-Recipient"], one["Status"]) == ("rfc822; bad@receiver.example", "5.0.0")


def test_of_a_large_message_the_header_is_returned(refusing):
    server, sink = refusing(general="bounce_message_size 4KiB")
    for size in (5000, 400000, 3000000):        # in memory, read back, in pieces of its own in the spool
        server.submit(ORIGINAL + b"x" * 70 + b"\r\n" + (b"y" * 98 + b"\r\n") * (size // 100))
    for report in reports(sink, 3):
        assert report.parts[2].get_content_type() == "text/rfc822-headers"
        assert report.returned.endswith(b"\r\nX-Mark: 7\r\n\r\n") and b"dots" not in report.returned


def test_a_large_message_is_returned_whole_where_that_is_wanted(refusing):
    server, sink = refusing(general="bounce_message_size 5MiB")
    wire = ORIGINAL + (b"y" * 98 + b"\r\n") * 30000
    server.submit(wire)
    report, = reports(sink)
    arrivals.assert_same(report.returned, wire)


def test_eight_bit_mail_is_returned_as_it_was(refusing):
    server, sink = refusing()
    wire = "Subject: gr\u00fc\u00dfe\r\n\r\n\u00e4\u00f6\u00fc\r\n".encode()
    server.submit(wire)
    report, = reports(sink)
    assert report.mail["Content-Transfer-Encoding"] == report.parts[2]["Content-Transfer-Encoding"] == "8bit"
    assert "BODY=8BITMIME" in sink.messages[0].parameters
    arrivals.assert_same(report.returned, wire)


def test_what_a_receiver_says_cannot_become_a_field_of_the_report(refusing):
    says = Lines(550, "5.7.1 no\tway", "5.7.1 Action: delivered", "5.7.1 gr\u00fc\u00dfe \x1b[2J", "5.7.1 --" + "x" * 1500)
    server, sink = refusing({"RCPT": lambda session, line: Default() if b"sender" in line else says})
    server.submit()
    report, = reports(sink)
    one, = report.each
    assert (one["Action"], one["Status"]) == ("failed", "5.7.1")
    assert one["Diagnostic-Code"].startswith("smtp; 550-5.7.1 no way 550-5.7.1 Action: delivered 550-5.7.1 gr\\xc3\\xbc")
    assert b"\x1b" not in report.wire and max(report.wire) < 0x80


def test_a_failure_of_our_own_is_told_as_such(refusing, dns):
    server, sink = refusing(everywhere="")
    server.change(route=None, dns=dns({"sender.example": "MX 10 mx.sender.example.", "mx.sender.example": f"A {sink.host}", "receiver.example": "MX 0 ."}),
                  everywhere=daemon.block("domain sender.example", f"smtp_route {sink.address}"))
    server.restart()
    server.submit()
    report, = reports(sink)
    one, = report.each
    assert "Remote-MTA" not in one and one["Diagnostic-Code"].startswith("X-GreenArrow; 556 5.1.10") and one["Status"] == "5.1.10"


def test_mail_that_waited_too_long_is_reported(refusing):
    server, sink = refusing({"RCPT": lambda session, line: Default() if b"sender" in line else "450 4.2.0 later"},
                            retry="retry_schedule 1s", everywhere="queue_lifetime 2s")
    server.submit()
    report, = reports(sink)
    one, = report.each
    assert (one["Action"], one["Status"]) == ("failed", "5.4.7")
    assert one["Diagnostic-Code"] == "smtp; 450 4.2.0 later"
    assert server.wait_empty()["toolong_total"] == 1


def test_mail_without_a_sender_is_not_reported(refusing):
    server, sink = refusing()
    server.submit(sender="")
    server.wait_log(r"GA-BNC-0002\]|has no sender to be told; dropped: 550 5.1.1 no such user")
    server.wait_empty()
    assert not sink.messages


def test_a_report_that_fails_is_not_reported(refusing):
    server, sink = refusing({"RCPT": "550 5.1.1 nobody"})
    server.submit()
    server.wait_log("has no sender to be told")
    assert server.wait_empty()["failure_total"] == 2
    assert not sink.messages


def test_double_bounces_go_to_their_address_and_no_further(refusing):
    known = {"RCPT": lambda session, line: Default() if b"postmaster" in line else "550 5.1.1 nobody"}
    server, sink = refusing(known, general="double_bounce_address postmaster@test.example")
    server.submit(ORIGINAL)
    report, = reports(sink)
    assert report.recipients == ["postmaster@test.example"]
    assert report.each[0]["Final-Recipient"] == "rfc822; a@sender.example"
    assert b"X-Mark: 7" in report.returned, "the report, with the message it returns"
    server.wait_empty()
    server.change(general="double_bounce_address nobody@test.example")
    server.restart()
    server.submit()
    server.wait_log("to <nobody@test.example> failed and has no sender to be told; dropped")
    server.wait_empty()
    assert len(sink.messages) == 1


def test_no_report_where_none_is_wanted(refusing):
    server, sink = refusing(everywhere=daemon.block("domain receiver.example", "bounce_failure no"))
    server.submit(recipients=["b@receiver.example", "b@other.example"])
    report, = reports(sink)
    assert [one["Final-Recipient"] for one in report.each] == ["rfc822; b@other.example"]
    server.wait_empty()


def test_reports_leave_by_their_own_virtual_mta(refusing):
    server, sink = refusing(general="bounce_virtual_mta back",
                            top=daemon.block("ip_address back", "mta_id 9\nsmtp_source 127.0.0.9 back.test.example"))
    server.submit()
    assert reports(sink) and sink.messages[0].session.peer[0] == "127.0.0.9"


def test_what_failed_without_the_module_is_reported_with_it(refusing):
    server, sink = refusing(bounce=False)
    server.submit(recipients=["one@receiver.example"])
    server.submit(recipients=["two@receiver.example"])
    server.wait_queue(failed=2)
    server.change(bounce=True)
    server.restart()
    assert {one.each[0]["Final-Recipient"] for one in reports(sink, 2)} == {"rfc822; one@receiver.example", "rfc822; two@receiver.example"}
    server.wait_empty()


def test_a_failure_is_reported_after_kill_9(refusing):
    server, sink = refusing()
    for _ in range(20):
        server.submit()
    server.wait_queue(failure_total=20)
    server.kill()
    before = len(sink.messages)
    server.start()
    server.wait_empty()
    assert 20 <= len(sink.messages) <= 20 + before
    assert all(Report(message).each for message in sink.messages)


def test_a_message_that_is_damaged_on_disk_is_reported_without_it(refusing):
    server, sink = refusing(retry="retry_schedule 1s", general="queue_lifetime 3s")
    late = {"RCPT": lambda session, line: Default() if b"sender.example" in line else "451 4.7.1 later"}
    sink.scripts = [late]
    server.submit(ORIGINAL)
    server.wait_queue(disk=1)
    server.stop()
    for segment in (server.folder / "queue").rglob("*.seg"):
        octets = segment.read_bytes()
        at = octets.find(b"X-Mark: 7")
        if at >= 0:
            segment.write_bytes(octets[:at] + b"x" + octets[at + 1:])
    server.expect_log(r"damage|cannot be read")
    server.start()
    report, = reports(sink)
    assert report.each[0]["Action"] == "failed" and len(report.parts) == 2
    server.wait_empty()


# --- delays ---

LATE = {"RCPT": lambda session, line: Default() if b"sender.example" in line else session.sink.later.next()}


def late(sink, *steps):
    sink.later = Each(*steps)


def test_a_delay_is_told_once(refusing):
    server, sink = refusing(LATE, retry="retry_schedule 1s", general="bounce_delay always\nbounce_delay_after 2s")
    late(sink, *["451 4.7.1 greylisted"] * 6, Default())
    server.submit(ORIGINAL)
    server.wait_empty()
    told = [Report(message) for message in sink.messages if not message.sender]
    assert len(told) == 1 and len(sink.messages) == 2
    one, = told[0].each
    assert (one["Action"], one["Status"], one["Diagnostic-Code"]) == ("delayed", "4.7.1", "smtp; 451 4.7.1 greylisted")
    assert "Will-Retry-Until" in one
    assert told[0].parts[2].get_content_type() == "text/rfc822-headers" and b"X-Mark: 7" in told[0].returned


def test_a_delay_that_was_told_is_not_told_again_after_a_restart(refusing):
    server, sink = refusing(LATE, retry="retry_schedule 1s", general="bounce_delay always\nbounce_delay_after 1s")
    late(sink, "451 4.7.1 greylisted")
    server.submit()
    reports(sink)
    server.restart()
    before = server.queue()["deferral_total"]
    end = time.monotonic() + 20
    while server.queue()["deferral_total"] < before + 3 and time.monotonic() < end:
        time.sleep(0.1)
    assert len(sink.messages) == 1


def test_nobody_is_told_of_a_delay_who_did_not_ask(refusing):
    server, sink = refusing(LATE, retry="retry_schedule 1s", general="bounce_delay_after 1s")
    late(sink, *["451 4.7.1 greylisted"] * 4, Default())
    server.submit(ORIGINAL)
    server.wait_empty()
    assert [message.sender for message in sink.messages] == ["a@sender.example"]


# --- deliveries ---

def test_a_delivery_is_told_where_it_always_is(refusing):
    server, sink = refusing({}, everywhere=daemon.block("domain receiver.example", "bounce_success always"))
    server.submit(ORIGINAL)
    sink.wait_messages(2)
    report = Report(sink.messages[1])
    one, = report.each
    assert (one["Action"], one["Status"], one["Remote-MTA"]) == ("relayed", "2.0.0", f"dns; [{sink.host}]")
    assert server.wait_empty()["success_total"] == 2


def test_a_delivery_is_not_told_unasked(refusing):
    server, sink = refusing({})
    server.submit()
    server.wait_empty()
    time.sleep(1.5)
    assert len(sink.messages) == 1


# --- what the sender asked for (RFC 3461) ---

DSN = ["PIPELINING", "8BITMIME", "DSN"]


def ask(server, recipients, parameters="", wire=ORIGINAL):
    with server.client() as client:
        client.ehlo()
        assert client.cmd(f"MAIL FROM:<a@sender.example> {parameters}").code == 250
        for recipient in recipients:
            address, _, more = recipient.partition(" ")
            assert client.cmd(f"RCPT TO:<{address}> {more}".rstrip()).code == 250
        assert client.data(wire).code == 250


def test_notify_decides_whose_failure_is_told(refusing):
    server, sink = refusing()
    ask(server, ["never@receiver.example NOTIFY=NEVER", "success@receiver.example NOTIFY=SUCCESS", "delay@receiver.example NOTIFY=DELAY",
                 "failure@receiver.example NOTIFY=FAILURE", "both@receiver.example NOTIFY=SUCCESS,FAILURE", "silent@receiver.example"])
    report, = reports(sink)
    assert sorted(one["Final-Recipient"] for one in report.each) == [f"rfc822; {name}@receiver.example" for name in ("both", "failure", "silent")]
    server.wait_empty()
    assert len(sink.messages) == 1


def test_envid_and_orcpt_are_in_the_report(refusing):
    server, sink = refusing()
    ask(server, ["b@receiver.example ORCPT=rfc822;first+2Bname@list.example"], "ENVID=QQ+3D17")
    report, = reports(sink)
    assert report.about["Original-Envelope-Id"] == "QQ=17"
    assert report.each[0]["Original-Recipient"] == "rfc822;first+name@list.example"


@pytest.mark.parametrize("ret, kind", [("FULL", "message/rfc822"), ("HDRS", "text/rfc822-headers")])
def test_ret_decides_what_is_returned(refusing, ret, kind):
    server, sink = refusing()
    ask(server, ["b@receiver.example"], f"RET={ret}")
    report, = reports(sink)
    assert report.parts[2].get_content_type() == kind


def test_a_success_is_told_where_the_next_host_does_not(refusing):
    server, sink = refusing({})
    ask(server, ["asked@receiver.example NOTIFY=SUCCESS,FAILURE", "not@receiver.example NOTIFY=FAILURE", "silent@receiver.example"], "ENVID=E1")
    sink.wait_messages(2)
    report = Report(sink.messages[1])
    one, = report.each
    assert (one["Final-Recipient"], one["Action"], one["Status"]) == ("rfc822; asked@receiver.example", "relayed", "2.0.0")
    assert report.about["Original-Envelope-Id"] == "E1" and report.parts[2].get_content_type() == "text/rfc822-headers"
    server.wait_empty()
    assert len(sink.messages) == 2


def test_a_success_is_told_after_kill_9_and_not_delivered_again(refusing):
    server, sink = refusing({})
    ask(server, ["asked@receiver.example NOTIFY=SUCCESS"])
    sink.wait_messages(1)
    server.wait_queue(success_total=1)
    server.kill()
    server.start()
    server.wait_empty()
    assert [message.sender for message in sink.messages if message.sender] == ["a@sender.example"]
    assert 1 <= len([message for message in sink.messages if not message.sender]) <= 2


def test_what_was_asked_is_passed_on_to_a_host_that_offers_dsn(greenarrow, sinks):
    sink = sinks(extensions=DSN)
    server = greenarrow(route=sink, bounce=True)
    ask(server, ["b@receiver.example NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x+2By@list.example", "c@receiver.example"], "RET=HDRS ENVID=QQ+3D17")
    message, = sink.wait_messages(1)
    assert "RET=HDRS" in message.parameters and "ENVID=QQ+3D17" in message.parameters
    commands = [command for command in message.session.commands if command.startswith(b"RCPT")]
    assert commands == [b"RCPT TO:<b@receiver.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x+2By@list.example", b"RCPT TO:<c@receiver.example>"]
    server.wait_empty()
    time.sleep(1.5)
    assert len(sink.messages) == 1, "that host tells, not we"


def test_a_report_asks_for_no_report(greenarrow, sinks):
    sink = sinks(REFUSE, extensions=DSN)
    greenarrow(route=sink, bounce=True).submit()
    message, = reports(sink) and sink.messages
    assert b"RCPT TO:<a@sender.example> NOTIFY=NEVER" in message.session.commands


def test_a_delay_is_told_to_who_asked(refusing):
    server, sink = refusing(LATE, retry="retry_schedule 1s", general="bounce_delay_after 1s")
    late(sink, "451 4.7.1 greylisted")
    ask(server, ["b@receiver.example NOTIFY=DELAY", "c@receiver.example NOTIFY=FAILURE", "d@receiver.example"])
    report, = reports(sink)
    assert [one["Final-Recipient"] for one in report.each] == ["rfc822; b@receiver.example"]


def test_a_sender_beyond_ascii_gets_a_report_of_rfc_6533(greenarrow, sinks):
    sink = sinks({"RCPT": lambda session, line: Default() if "s\u00fc".encode() in line else "550 5.1.1 no"}, extensions=["8BITMIME", "SMTPUTF8"])
    server = greenarrow(route=sink, bounce=True)
    with server.client() as client:
        client.ehlo()
        assert client.cmd("MAIL FROM:<s\u00fc@sender.example> SMTPUTF8".encode()).code == 250
        assert client.cmd("RCPT TO:<\u00f6@receiver.example>".encode()).code == 250
        assert client.data("Subject: \u00fc\r\n\r\nx\r\n".encode()).code == 250
    message, = sink.wait_messages(1)
    assert "SMTPUTF8" in message.parameters
    assert b"Content-Type: message/global-delivery-status" in message.wire and b"Content-Type: message/global\r\n" in message.wire
    assert "Final-Recipient: utf-8; \u00f6@receiver.example\r\n".encode() in message.wire


def test_a_recipient_beyond_ascii_is_told_in_ascii_to_who_has_nothing_else(greenarrow, sinks):
    sink = sinks(REFUSE, extensions=["8BITMIME"])
    server = greenarrow(route=sink, bounce=True)
    with server.client() as client:
        client.ehlo()
        assert client.cmd("MAIL FROM:<a@sender.example> SMTPUTF8".encode()).code == 250
        assert client.cmd("RCPT TO:<\u00f6\u20ac@receiver.example>".encode()).code == 250
        assert client.data(ORIGINAL).code == 250
    report, = reports(sink)
    assert report.each[0]["Final-Recipient"] == "utf-8; \\x{F6}\\x{20AC}@receiver.example"


def test_a_header_over_the_limit_is_cut_at_a_line(refusing):
    server, sink = refusing(general="bounce_message_size 4KiB", service="max_header_size 3MiB")
    for lines in (100, 20000):                  # in memory; over 1 MiB, in the spool
        server.submit(b"".join(b"X-Field-%06d: %s\r\n" % (i, b"v" * 70) for i in range(lines)) + b"\r\nbody\r\n")
    for report in reports(sink, 2):
        assert report.parts[2].get_content_type() == "text/rfc822-headers"
        assert 3500 < len(report.returned) <= 4096 and report.returned.endswith(b"v\r\n") and b"body" not in report.returned
