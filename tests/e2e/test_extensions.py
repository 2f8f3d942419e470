"""Extensions that say something about a message: DSN (RFC 3461), SMTPUTF8 (RFC 6531), REQUIRETLS (RFC 8689); and LIMITS (RFC 9422). Asked for by clients that others wrote where they can, and followed to the sink."""

import email.message
import email.policy
import smtplib
import subprocess

import pytest

from gatest import clients, corpus, need
from gatest.badsink import EXTENSIONS

SENDER, RECIPIENT = "grün@bücher.example", "blüte@straße.example"


@pytest.fixture
def offering(sinks):
    """A sink that takes all that we pass on."""
    return sinks(extensions=(*EXTENSIONS, "DSN", "SMTPUTF8"))


def rcpts(sink):
    """The RCPT commands that the sink got."""
    return [line.decode() for session in sink.sessions for line in session.commands if line.upper().startswith(b"RCPT")]


# DSN.

def test_dsn_parameters_of_smtplib_are_passed_on(greenarrow, offering):
    server = greenarrow(route=offering)
    with smtplib.SMTP(*server.address, local_hostname="client.example", timeout=20) as client:
        assert client.ehlo()[0] == 250 and client.has_extn("dsn")
        client.sendmail("a@sender.example", ["b@receiver.example"], corpus.simple(), mail_options=["RET=HDRS", "ENVID=QQ+2B314159"],
                        rcpt_options=["NOTIFY=SUCCESS,DELAY", "ORCPT=rfc822;first+3Done@other.example"])
    message = offering.wait_messages(1)[0]
    assert {"RET=HDRS", "ENVID=QQ+2B314159"} <= set(message.parameters.split())
    line, = rcpts(offering)
    notify = next(word for word in line.split() if word.startswith("NOTIFY="))
    assert set(notify.removeprefix("NOTIFY=").split(",")) == {"SUCCESS", "DELAY"}
    assert "ORCPT=rfc822;first+3Done@other.example" in line.split()


def test_dsn_parameters_of_nodemailer_are_passed_on(greenarrow, offering):
    server = greenarrow(route=offering)
    clients.nodemailer(server.address, corpus.simple(), ["b@receiver.example"],
                       dsn={"id": "id 7", "return": "full", "notify": ["failure", "delay"], "recipient": "b@receiver.example"})
    message = offering.wait_messages(1)[0]
    assert {"RET=FULL", "ENVID=id+207"} <= set(message.parameters.split())
    assert "ORCPT=rfc822;b@receiver.example" in rcpts(offering)[0].split()


def test_each_recipient_keeps_what_it_asked_for_over_a_restart(greenarrow, sinks):
    sink = sinks({"RCPT": "450 4.2.0 later"}, extensions=(*EXTENSIONS, "DSN"))
    server = greenarrow(route=sink, retry="retry_schedule 2s")
    asked = {"n": "NOTIFY=NEVER", "f": "NOTIFY=FAILURE ORCPT=x-other;a+20b", "none": ""}
    with server.client() as client:
        client.ehlo()
        assert client.cmd("MAIL FROM:<a@sender.example> ENVID=e1").code == 250
        for name, parameters in asked.items():
            assert client.cmd(f"RCPT TO:<{name}@receiver.example> {parameters}").code == 250
        assert client.data(corpus.simple()).code == 250
    server.wait_queue(disk=3)
    before = len(rcpts(sink))
    server.restart()
    sink.wait_for(lambda: len(rcpts(sink)) >= before + 3)
    for name, parameters in asked.items():
        line = next(line for line in rcpts(sink)[before:] if f"<{name}@" in line)
        assert line.split()[2:] == parameters.split(), line


@pytest.mark.parametrize("parameter", ["ENVID=a+0D+0ARSET", "ENVID=a+00", "ENVID=+7F", "ENVID=+", "ENVID=+4", "ENVID=a=b", "ENVID=" + "x" * 101,
                                       "RET=BOTH", "RET=FULL RET=FULL", "RET"])
def test_xtext_that_hides_a_control_and_other_nonsense_of_mail_is_refused(greenarrow, sink, parameter):
    with greenarrow(route=sink).client() as client:
        client.ehlo()
        reply = client.cmd(f"MAIL FROM:<a@sender.example> {parameter}")
        assert (reply.code, reply.enhanced) == (501, "5.5.4")
        assert client.cmd("DATA").code == 503


@pytest.mark.parametrize("parameter", ["ORCPT=rfc822;a+0D+0ADATA", "ORCPT=rfc822;a+00b", "ORCPT=rfc822;+0a", "ORCPT=rfc822", "ORCPT=;a", "ORCPT=rfc822;" + "x" * 494,
                                       "NOTIFY=NEVER,DELAY", "NOTIFY=SUCCESS,SUCCESS", "NOTIFY=SUCCESS NOTIFY=DELAY", "NOTIFY="])
def test_xtext_that_hides_a_control_and_other_nonsense_of_rcpt_is_refused(greenarrow, sink, parameter):
    with greenarrow(route=sink).client() as client:
        client.ehlo()
        assert client.cmd("MAIL FROM:<a@sender.example>").code == 250
        reply = client.cmd(f"RCPT TO:<b@receiver.example> {parameter}")
        assert (reply.code, reply.enhanced) == (501, "5.5.4")
        assert client.cmd("DATA").code in (503, 554)


def test_a_plus_in_xtext_comes_out_as_it_went_in(greenarrow, offering):
    """decode(encode(x)) = x for every printable octet, over the spool and both sides of SMTP."""
    server = greenarrow(route=offering)
    printable = bytes(range(33, 127))
    encoded = "".join(chr(c) if chr(c) not in "+=" else f"+{c:02X}" for c in printable)
    for part in (encoded[:60], encoded[60:]):
        server.submit(parameters=f"ENVID={part}")
    found = {word for message in offering.wait_messages(2) for word in message.parameters.split() if word.startswith("ENVID=")}
    assert found == {f"ENVID={encoded[:60]}", f"ENVID={encoded[60:]}"}


def test_dsn_is_no_part_of_a_session_that_began_with_helo(greenarrow, sink):
    with greenarrow(route=sink).client() as client:
        client.cmd("HELO client.example")
        assert client.cmd("MAIL FROM:<a@sender.example> RET=FULL").code in (501, 555)
        client.envelope()
        assert client.cmd("RCPT TO:<c@receiver.example> NOTIFY=NEVER").code in (501, 555)


# SMTPUTF8.

def international(subject="grüße"):
    message = email.message.EmailMessage(policy=email.policy.SMTPUTF8)
    message["From"], message["To"], message["Subject"], message["Message-ID"] = SENDER, RECIPIENT, subject, "<utf8@sender.example>"
    message.set_content("Grüße.\n")
    return message


def assert_utf8(sink, count=1):
    """What the sink got: UTF-8 addresses and header, with the parameter; routed by the A-label."""
    for message in sink.wait_messages(count):
        assert (message.sender, message.recipients) == (SENDER, [RECIPIENT])
        assert "SMTPUTF8" in message.parameters.split()
        head = message.wire.split(b"\r\n\r\n")[0].decode()
        assert "with UTF8SMTP id" in head and f"for <{RECIPIENT}>" in head
    return message


def a_label_route(sink):
    return f"domain xn--strae-oqa.example {{\n  smtp_route {sink.address}\n}}"


def test_international_mail_of_smtplib_arrives(greenarrow, offering):
    server = greenarrow(everywhere=a_label_route(offering))
    with smtplib.SMTP(*server.address, local_hostname="client.example", timeout=20) as client:
        client.send_message(international())
    assert "grüße" in assert_utf8(offering).wire.decode()


def test_international_mail_of_nodemailer_arrives(greenarrow, offering):
    """nodemailer writes the domain as an A-label itself."""
    server = greenarrow(everywhere=a_label_route(offering))
    clients.nodemailer(server.address, international().as_bytes(), ["blüte@straße.example"], sender="grün@sender.example")
    message = offering.wait_messages(1)[0]
    assert message.sender == "grün@sender.example" and message.recipients[0].startswith("blüte@")
    assert "SMTPUTF8" in message.parameters.split()


def test_international_mail_of_curl_arrives(greenarrow, offering, tmp_path):
    server = greenarrow(everywhere=a_label_route(offering))
    (tmp_path / "mail").write_bytes(international().as_bytes())
    done = subprocess.run([need.program("curl", "curl"), "--silent", "--show-error", f"smtp://{server.address[0]}:{server.address[1]}/client.example", "--mail-from", "grün@sender.example",
                           "--mail-rcpt", "blüte@xn--strae-oqa.example", "--upload-file", str(tmp_path / "mail")], capture_output=True, text=True, timeout=60,
                          env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"})
    assert done.returncode == 0, done.stderr
    message = offering.wait_messages(1)[0]
    assert message.sender == "grün@sender.example" and message.recipients[0].startswith("blüte@")
    assert "SMTPUTF8" in message.parameters.split()


def test_dsn_and_utf8_parameters_of_swaks_are_taken(greenarrow, offering):
    """swaks passes what it is given; the parameters come in the addresses' places."""
    server = greenarrow(route=offering)
    done = subprocess.run([need.program("swaks", "swaks"), "--server", f"{server.address[0]}:{server.address[1]}", "--ehlo", "client.example", "--from", "a@sender.example> SMTPUTF8 RET=FULL ENVID=<x",
                           "--to", "b@receiver.example", "--timeout", "20"], capture_output=True, text=True, timeout=60)
    assert "MAIL FROM:<a@sender.example> SMTPUTF8 RET=FULL ENVID=<x>" in done.stdout
    assert done.returncode == 0, done.stdout + done.stderr
    assert {"SMTPUTF8", "RET=FULL", "ENVID=<x>"} <= set(offering.wait_messages(1)[0].parameters.split())


def test_international_mail_is_not_sent_to_a_host_that_cannot_take_it(greenarrow, sink):
    server = greenarrow(everywhere=a_label_route(sink) + f"\ndomain receiver.example {{\n  smtp_route {sink.address}\n}}")
    for sender, recipient in ((SENDER, "b@receiver.example"), ("a@sender.example", RECIPIENT), ("a@sender.example", "b@receiver.example")):
        server.submit(international().as_bytes(), sender=sender, recipients=[recipient], parameters="SMTPUTF8")
    server.wait_queue(failure_total=3)
    assert not sink.attempts
    # declared, but nothing needs it
    server.submit(parameters="SMTPUTF8")
    assert "SMTPUTF8" not in sink.wait_messages(1)[0].parameters


def test_utf8_addresses_without_the_parameter_are_refused(greenarrow, sink):
    with greenarrow(route=sink).client() as client:
        client.ehlo()
        reply = client.cmd(f"MAIL FROM:<{SENDER}>")
        assert (reply.code, reply.enhanced) == (550, "5.6.7")
        assert client.cmd("MAIL FROM:<a@sender.example>").code == 250
        reply = client.cmd(f"RCPT TO:<{RECIPIENT}>")
        assert (reply.code, reply.enhanced) == (553, "5.6.7")
        assert client.cmd("DATA").code in (503, 554)


@pytest.mark.parametrize("octets", [b"\xfc", b"\xc3", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc2\x85", b"\xff"])
def test_octets_that_are_no_utf8_are_refused(greenarrow, sink, octets):
    with greenarrow(route=sink).client() as client:
        client.ehlo()
        assert client.cmd(b"MAIL FROM:<a" + octets + b"@sender.example> SMTPUTF8").code == 501
        assert client.cmd(b"MAIL FROM:<a@s" + octets + b".example> SMTPUTF8").code == 501
        assert client.cmd("DATA").code == 503
        assert client.cmd("MAIL FROM:<a@sender.example> SMTPUTF8").code == 250
        assert client.cmd(b"RCPT TO:<b" + octets + b"@receiver.example>").code == 501
        assert client.cmd(b"VRFY " + octets + b" SMTPUTF8").code == 501
        assert client.cmd("DATA").code in (503, 554)


def test_after_vrfy_with_utf8_data_still_needs_an_envelope(greenarrow, sink):
    server = greenarrow(route=sink)
    for line, code in ((f"VRFY {SENDER}", 553), (f"VRFY {SENDER} SMTPUTF8", 252)):
        with server.client() as client:
            client.ehlo()
            assert client.cmd(line).code == code
            assert client.cmd("DATA").code == 503
        with server.client() as client:
            client.ehlo()
            client.envelope()
            assert client.cmd(line).code == code
            assert client.cmd(f"RCPT TO:<{RECIPIENT}>").code == 553
            assert client.data(corpus.simple()).code == 250
    assert not any("SMTPUTF8" in message.parameters for message in sink.wait_messages(2))


def test_a_host_whose_transcript_is_utf8_gets_only_replies_in_ascii(greenarrow, sink):
    with greenarrow(route=sink).client() as client:
        client.ehlo()
        for line in (f"MAIL FROM:<{SENDER}>", f"MAIL FROM:<{SENDER}> SMTPUTF8", f"RCPT TO:<{RECIPIENT}>", f"VRFY {SENDER} SMTPUTF8", "RCPT TO:<ü"):
            assert max(client.cmd(line).raw) < 128


# REQUIRETLS, LIMITS.

def test_requiretls_is_offered_and_taken_inside_tls_alone(greenarrow, sink, certificate):
    server = greenarrow(route=sink, service=f"tls_certificate_files {certificate[0]}, {certificate[1]}")
    with server.client() as client:
        client.ehlo()
        assert "REQUIRETLS" not in client.extensions
        reply = client.cmd("MAIL FROM:<a@sender.example> REQUIRETLS")
        assert (reply.code, reply.enhanced) == (530, "5.7.0")
        client.starttls()
        client.ehlo()
        assert "REQUIRETLS" in client.extensions
        client.envelope(parameters="REQUIRETLS")
        assert client.data(corpus.simple()).code == 250
    server.wait_queue(failure_total=1)
    assert not sink.attempts, "sent though TLS was not verified"


def test_a_message_that_required_tls_is_not_returned_in_clear(greenarrow, sink, certificate):
    server = greenarrow(route=sink, bounce=True, service=f"tls_certificate_files {certificate[0]}, {certificate[1]}")
    server.submit(corpus.simple(body="a secret\r\n"), tls=True, parameters="REQUIRETLS")
    report, = sink.wait_messages(1)
    assert report.sender == "" and b"5.7.30" in report.wire and b"a secret" not in report.wire


@pytest.mark.parametrize("limit, told", [(None, "1000"), (7, "7"), (1000000, "999999")])
def test_limits_tells_how_many_recipients_a_message_may_have(greenarrow, sink, limit, told):
    server = greenarrow(route=sink, service=f"max_recipients {limit}" if limit else "")
    with server.client() as client:
        client.ehlo()
        assert client.extensions["LIMITS"] == f"RCPTMAX={told}"
        if limit == 7:
            client.envelope(recipients=[f"u{n}@receiver.example" for n in range(7)])
            assert client.cmd("RCPT TO:<u8@receiver.example>").code == 452
