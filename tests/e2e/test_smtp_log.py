"""SMTP sessions in log directories: outgoing by VirtualMTA and domain, incoming by variables; caps; the flight recorder."""

import re
import time

from gatest import corpus, daemon, ports, secrets, smtp
from gatest.badsink import Close, Delay, Each, Lines, Default
from gatest.secrets import CANARY
from test_auth import b64, plain, scram_entry, with_msmtp, write_users
from test_sessions_out import offers

STAMP = re.compile(r"@4[0-9a-f]{23} ")
SEED_GREP = re.compile(r" \([0-9]*\) ")         # grep " ([0-9]*) "


def lines(server, directory="rspawn-limiter"):
    """What is in a log directory, without stamps."""
    folder = server.folder / "log" / directory
    files = [*sorted(folder.glob("@*")), folder / "current"]
    text = "".join(file.read_text() for file in files if file.exists())
    return [STAMP.sub("", line, count=1) for line in text.splitlines()]


def wait_lines(server, *wanted, directory="rspawn-limiter", timeout=20):
    """Waits until each of the patterns is in some line; all lines."""
    end = time.monotonic() + timeout
    while True:
        found = lines(server, directory)
        missing = [pattern for pattern in wanted if not any(re.search(pattern, line) for line in found)]
        if not missing:
            return found
        assert time.monotonic() < end, f"{missing} not in:\n" + "\n".join(found) + server.tail()
        time.sleep(0.05)


def said(found, who="remote_smtp"):
    """mark + text of the lines of sessions."""
    return [line.split(") ", 1)[1] for line in found if line.startswith(f"{who}: (")]


def domain(name, text, route):
    return daemon.block(f"domain {name}", f"smtp_route {route.address}\n{text}")


def send(server, recipient="b@receiver.example", wire=None):
    assert smtp.submit(server.address, wire or corpus.simple(), recipients=[recipient]).code == 250


# Outgoing.

def test_only_sessions_of_the_domain_that_asks_are_logged_and_each_line_has_its_session(greenarrow, sinks):
    """One host and one group for both domains: their mail goes over one connection."""
    sink = sinks({"EHLO": Lines(250, "sink.example", "PIPELINING", "SIZE 1000000")})
    server = greenarrow(everywhere="reuse_connections yes\nreuse_connections_timeout 1s\n" + domain("example.com", "log_smtp_commands yes", sink)
                        + domain("other.example", "", sink), ip="domain example.com other.example {\n  max_concurrent_connections 1\n}")
    send(server, "b@other.example")
    sink.wait_messages(1)
    send(server, "b@example.com")
    sink.wait_messages(2)
    send(server, "c@other.example")
    sink.wait_messages(3)
    send(server, "d@example.com")
    sink.wait_messages(4)
    found = wait_lines(server, r"\) \* close deliveries=4 reason=")
    assert len(sink.sessions) == 1
    sessions = [line for line in found if SEED_GREP.search(line)]
    ours = [line for line in found if line.startswith("remote_smtp: ")]
    assert sessions == ours and "other.example" not in "".join(ours)
    assert len({re.search(r"\((\d+)\)", line)[1] for line in ours}) == 1
    text = said(found)
    assert re.fullmatch(rf"\* reused 127\.0\.0\.2:\d+ -> {re.escape(sink.address)} mx=127\.0\.0\.1 vmta=ip-1 domain=example\.com throttle=\S+ deliveries=1", text[0])
    assert text[1] == "> MAIL FROM:<a@sender.example> SIZE=%d" % len(sink.messages[1].wire)
    assert text[2:4] == ["> RCPT TO:<b@example.com>", "> DATA"]
    assert [line for line in text if line.startswith(("<", "> ."))][:5] == ["< 250 2.1.0 ok", "< 250 2.1.5 ok", "< 354 go on", "> .", "< 250 2.0.0 kept"]
    assert "> QUIT" in text and text[-1].startswith("* close deliveries=4 reason=")
    assert sum(line.startswith("> RCPT") for line in text) == 2


def test_connections_alone_failures_and_tls_are_told(greenarrow, sinks, certificate):
    sink = sinks({"STARTTLS": Each(["220 go", Delay(0.3), b"not TLS at all\r\n", Close()], Default())}, certificate=certificate)
    closed = type("Closed", (), {"address": f"127.0.0.1:{ports.free_port()}"})
    server = greenarrow(everywhere="log_smtp_connections yes\nreuse_connections yes\nreuse_connections_timeout 1s\nlog_smtp_file out.sessions\n"
                        + domain("receiver.example", "log_smtp_timings yes", sink) + domain("closed.example", "", closed), retry="retry_schedule 1h")
    send(server)
    sink.wait_messages(1)
    send(server)
    send(server, "b@closed.example")
    sink.wait_messages(2)
    found = wait_lines(server, r"\* connect failed 127\.0\.0\.2 -> \S+ mx=127\.0\.0\.1 vmta=ip-1 domain=closed\.example throttle=\S+ reason=.*Connection refused$",
                       r"\* tls failed reason=.", r"\* close deliveries=0 reason=TLS failed \(.*\), once more in clear", r"\* close deliveries=[12] reason=quit", directory="out.sessions")
    text = said(found)
    assert not any(line.startswith((">", "<")) for line in text)
    assert any(re.fullmatch(r"\* saved deliveries=1", line) for line in text)
    assert any(re.fullmatch(rf"\* connect 127\.0\.0\.2:\d+ -> {re.escape(sink.address)} mx=127\.0\.0\.1 vmta=ip-1 domain=receiver\.example throttle=\S+", line) for line in text)
    assert any(re.fullmatch(r"\* reply (220|250|354) after \d+\.\d{3} ms", line) for line in text)
    assert not [line for line in lines(server) if "remote_smtp" in line], "the scope has a log directory of its own"


def test_tls_is_told_with_its_version_and_cipher(greenarrow, sinks, certificate):
    sink = sinks(certificate=certificate)
    server = greenarrow(route=sink, everywhere="log_smtp_commands yes")
    send(server)
    sink.wait_messages(1)
    text = said(wait_lines(server, r"\* close"))
    tls = next(i for i, line in enumerate(text) if re.fullmatch(r"\* tls TLS1\.[23] \S+ verified=no", line))
    assert text[tls - 2] == "> STARTTLS" and text[tls + 1] == "> EHLO mail1.test.example"


def test_a_hexdump_has_every_octet_of_both_directions(greenarrow, sink):
    server = greenarrow(route=sink, everywhere="log_smtp_hexdump yes")
    wire = corpus.simple(body="back\\slash \x01 and é\r\n")
    send(server, wire=wire)
    sink.wait_messages(1)
    text = said(wait_lines(server, r"\* close"))
    octets = {">": b"", "<": b""}
    for line in text:
        row = re.fullmatch(r"h ([<>]) ([0-9a-f]{8})  ((?:[0-9a-f]{2} )+) +\|(.{1,16})\|", line)
        if row:
            assert int(row[2], 16) == len(octets[row[1]])
            octets[row[1]] += bytes.fromhex(row[3])
    assert octets[">"].startswith(b"EHLO mail1.test.example\r\n") and octets[">"].endswith(b"\r\n.\r\nQUIT\r\n")
    assert sink.messages[0].wire in octets[">"] and b"250 2.0.0 kept\r\n" in octets["<"]


def test_control_characters_are_escaped_and_long_lines_cut(greenarrow, sinks):
    sink = sinks({"EHLO": [b"250-sink.example \x1b[31m\\\r\n250 " + b"x" * 1500 + b"\r\n"]})
    server = greenarrow(route=sink, everywhere="log_smtp_commands yes")
    send(server)
    sink.wait_messages(1)
    text = said(wait_lines(server, r"\* close"))
    assert not any(re.search(r"[\x00-\x1f\x7f]", line) for line in text)
    assert any(line.startswith("< 250-sink.example ?[31m\\\\") for line in text), "the parser of replies replaces, we escape"
    assert any(re.fullmatch(r"< 250 x{996}( \[and \d+ octets\])?", line) for line in text)


# Caps.

def test_what_the_caps_leave_out_is_told(greenarrow, sink):
    server = greenarrow(everywhere=domain("receiver.example", "log_smtp_hexdump yes\nlog_smtp_max_size 2000", sink)
                        + domain("rated.example", "log_smtp_commands yes\nlog_smtp_max_rate 5/s", sink))
    send(server)
    send(server, "b@rated.example")
    sink.wait_messages(2)
    found = wait_lines(server, r"\* left out \d+ lines \(\d+ octets\): log_smtp_max_size 2000$",
                       r"^remote_smtp: \* left out \d+ lines \(\d+ octets\): log_smtp_max_rate 5/s \(.*greenarrow\.conf:\d+\)$", r"\* close")
    dumped = [line for line in found if ") h " in line]
    assert 1000 < sum(map(len, dumped)) <= 2000
    left = int(re.search(r"left out (\d+) lines", next(line for line in found if "max_size" in line))[1])
    whole = len(sink.messages[0].wire) / 16
    assert len(dumped) + left > whole
    rated = [line for line in found if re.search(r"rated\.example|^remote_smtp: \(\d+\) [<>]", line)]
    assert len(rated) <= 8, "five, and what comes due meanwhile"


# The flight recorder.

def test_the_last_lines_of_a_session_that_failed_are_written_though_nothing_was_logged(greenarrow, sinks):
    sink = sinks({"RCPT": Each("550 5.1.1 nobody here", Default())})
    server = greenarrow(route=sink, everywhere="log_smtp_on_failure yes\nlog_smtp_on_failure_lines 6", retry="retry_schedule 1h")
    send(server, "gone@receiver.example")
    server.wait_queue(failure_total=1)
    found = wait_lines(server, r"\* failure of envelope")
    ours = [line for line in found if line.startswith("remote_smtp")]
    assert re.fullmatch(r"remote_smtp: \(\d+\) \* failure of envelope [0-9a-f]{16} to <gone@receiver\.example>, the session's last 6 lines: 550 5\.1\.1 nobody here", ours[0])
    when = r"\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\] "
    assert all(re.match(r"remote_smtp: \(\d+\) [<>*] " + when, line) for line in ours[1:7]), ours
    assert [re.sub(when, "", line.split(") ", 1)[1]) for line in ours[1:7]][-2:] in (
        ["< 550 5.1.1 nobody here", "< 503 5.5.1 no recipients"], ["< 250 2.1.0 ok", "< 550 5.1.1 nobody here"])
    send(server)
    sink.wait_messages(1)
    time.sleep(0.2)
    assert [line for line in lines(server) if line.startswith("remote_smtp")] == ours, "a delivery writes nothing"


def test_the_recorder_has_the_hosts_that_were_tried_before_and_stays_in_its_memory(greenarrow, sinks):
    sink = sinks({"banner": "421 4.3.2 not now"})
    closed = ports.free_port()
    server = greenarrow(everywhere="log_smtp_on_failure yes\n" + daemon.block("domain *", f"smtp_route {sink.address}, 127.0.0.1:{closed}"), retry="retry_schedule 1h")
    send(server)
    server.wait_queue(deferral_total=1)
    found = wait_lines(server, r"\* deferral of envelope")
    ours = said(found)
    assert any("connect failed" in line for line in ours) and any("< [" in line and "421 4.3.2 not now" in line for line in ours)
    assert len({re.search(r"\((\d+)\)", line)[1] for line in found if line.startswith("remote_smtp")}) == 2, "a host, an id"
    server.change(general="log_smtp_on_failure_memory 0")
    assert server.run("greenarrow_config", "reload").returncode == 0
    send(server, "c@receiver.example")
    server.wait_queue(deferral_total=2)
    wait_lines(server, r"to <c@receiver\.example>, the session's last 0 lines \(there was no memory for more\)")


# Incoming.

def service(name, address, text=""):
    return daemon.block(f"smtp_service {name}", f"listen {address[0]}:{address[1]}\n{text}")


def environment(server, name, text):
    path = server.folder / "control" / name
    path.write_text(text)
    path.chmod(0o644)
    return str(path)


def test_incoming_sessions_are_logged_by_the_variables_of_their_service(greenarrow, sink, certificate):
    """A variable that is set is on, even when it is empty; each service has its log directory."""
    where = {name: ("127.0.0.1", ports.free_port()) for name in ("smtp2", "smtp3", "Bulk.in")}
    server = greenarrow(start=False, route=sink)
    commands = environment(server, "smtp2", "export GREENARROW_LOG_SMTP_COMMANDS=\n")
    message = environment(server, "smtp3", "export GREENARROW_LOG_SMTP_MESSAGE=\n")
    tls = f"tls_certificate_files {certificate[0]}, {certificate[1]}\n"
    server.change(top=service("smtp2", where["smtp2"], tls + f"environment_file {commands}") + service("smtp3", where["smtp3"], f"environment_file {message}")
                  + service("Bulk.in", where["Bulk.in"], f"environment_file {message}"))
    server.start()
    secret = corpus.simple("a subject that only MESSAGE shows", body="tab\there\r\n" + "y" * 1200 + "\r\n..dots\r\nthe end\r\n")
    send(server)
    assert smtp.submit(where["smtp2"], secret, tls=True).code == 250
    with smtp.Smtp(where["smtp3"]) as client:
        client.ehlo()
        client.envelope()
        assert [reply.code for reply in client.bdat(secret)] == [250]
        client.envelope()
        assert client.data(secret).code == 250
    sink.wait_messages(4)
    with smtp.Smtp(where["Bulk.in"]) as client:
        client.cmd("NOOP \x01")
        client.cmd("QUIT")
    two = said(wait_lines(server, r"\* close", directory="qmail-smtpd2"), "smtpd")
    assert re.fullmatch(r"\* connect 127\.0\.0\.1:\d+ -> 127\.0\.0\.1:%d service=smtp2" % where["smtp2"][1], two[0])
    assert two[1] == "> 220 mail.test.example ESMTP GreenArrow" and two[2].startswith("< EHLO") and two[3].startswith("> 250-mail.test.example")
    assert any(re.fullmatch(r"\* tls TLS1\.\d \S+ verified=no", line) for line in two)
    assert "< DATA" in two and "< QUIT" in two and two[-1] == "* close messages=1 reason=quit"
    assert not any("subject that only" in line for line in two)
    three = said(wait_lines(server, r"\* close", directory="qmail-smtpd3"), "smtpd")
    assert three.count("< Subject: a subject that only MESSAGE shows") == 2
    assert three.count("< tab\\x09here") == 2 and three.count("< " + "y" * 1000 + " [and 200 octets]") == 2
    assert three.count("< ..dots") == 1 and three.count("< ...dots") == 1, "as it was on the wire"
    assert three.count("< the end") == 2 and three.count("< .") == 1
    assert three[-1] == "* close messages=2 reason=closed by the client"
    bulk = said(wait_lines(server, r"\* close", directory="qmail-smtpd-bulk.in"), "smtpd")
    assert "< NOOP \\x01" in bulk
    assert not (server.folder / "log" / "qmail-smtpd").exists(), "the service without a variable logs nothing"


def test_incoming_sessions_are_logged_by_the_variables_of_their_client(greenarrow):
    """Access rules set them: 127.0.0.7 is logged, 127.0.0.8 too though it is turned away, others are not."""
    server = greenarrow(start=False, service="tcp_rules smtp.tcp")
    environment(server, "smtp.tcp", '127.0.0.7:allow,GREENARROW_LOG_SMTP_COMMANDS=""\n127.0.0.8:deny,GREENARROW_LOG_SMTP_COMMANDS=""\n:allow\n')
    assert server.run("hvmail_update_tcprules", "smtp").returncode == 0
    server.start()
    for source, code in (("127.0.0.7", 221), ("127.0.0.8", None), ("127.0.0.9", 221)):
        with smtp.Smtp(server.address, source=(source, 0)) as client:
            assert client.banner.code == (220 if code else 554)
            if code:
                assert client.cmd("QUIT").code == code
    found = said(wait_lines(server, r"connect 127\.0\.0\.7:", r"close .*=quit", r"close .*=refused", directory="qmail-smtpd"), "smtpd")
    assert any(line.startswith("* connect 127.0.0.8:") for line in found) and any(line.startswith("> 554 5.7.1") for line in found)
    assert found.count("< QUIT") == 1 and "127.0.0.9" not in "".join(found)


# Credentials.

def relay_login(session, line):
    """The server's side of PLAIN, else LOGIN, that takes everything."""
    session.steps = getattr(session, "steps", []) + [line]
    if line.upper() == b"AUTH LOGIN":
        return "334 VXNlcm5hbWU6"
    if len(session.steps) == 2:
        return "334 UGFzc3dvcmQ6"
    return "235 2.7.0 welcome"


EVERYTHING = "log_smtp_commands yes\nlog_smtp_hexdump yes\nlog_smtp_timings yes\n"


def test_a_password_is_in_no_log_of_any_kind(greenarrow, sinks, certificate):
    """PLAIN, LOGIN and SCRAM coming in, PLAIN and LOGIN going out, with all that can be logged switched on."""
    first = sinks({"EHLO": offers("PLAIN"), "other": "235 2.7.0 welcome"})
    second = sinks({"EHLO": offers("LOGIN"), "other": relay_login})
    third = sinks({"EHLO": offers("PLAIN"), "other": "535 5.7.8 who are you"})
    credentials = f"destination_username canary\ndestination_password {CANARY}\ndestination_auth_cleartext yes\n"
    server = greenarrow(start=False, everywhere=EVERYTHING + domain("plain.example", credentials, first) + domain("login.example", credentials, second)
                        + domain("failed.example", credentials + "log_smtp_commands no\nlog_smtp_on_failure yes", third), retry="retry_schedule 1h",
                        service=f"tls_certificate_files {certificate[0]}, {certificate[1]}\nsmtp_auth optional\nsmtpd_auth_delay 10ms\nrelay_from 192.0.2.1")
    both = environment(server, "env", "export GREENARROW_LOG_SMTP_COMMANDS=\nexport GREENARROW_LOG_SMTP_MESSAGE=\n")
    server.change(service=server.settings.service + f"\nenvironment_file {both}")
    write_users(server, f"canary:{scram_entry(CANARY)}\n")
    server.start()
    with smtp.Smtp(server.address) as client:
        client.ehlo()
        client.starttls()
        client.ehlo()
        assert client.cmd("AUTH PLAIN " + plain("canary", CANARY + "x")).code == 535
        assert client.cmd("AUTH LOGIN").code == 334 and client.cmd(b64("canary")).code == 334 and client.cmd(b64(CANARY)).code == 235
        for name in ("plain", "login", "failed"):
            client.envelope(recipients=[f"b@{name}.example"])
            assert client.data(corpus.simple()).code == 250
    with_msmtp(server.address, "canary", CANARY, "SCRAM-SHA-256")
    first.wait_messages(1)
    second.wait_messages(1)
    out = wait_lines(server, r"to <b@failed\.example>, the session's last")
    incoming = wait_lines(server, r"< AUTH SCRAM-SHA-256", r"> 334 \[credentials\]$", directory="qmail-smtpd")
    assert {"> AUTH PLAIN [credentials]", "> AUTH LOGIN", "> [credentials]", "h > [credentials]"} <= set(said(out))
    assert any(re.search(r"> \[[^]]*Z\] AUTH PLAIN \[credentials\]", line) for line in out), "the recorder's"
    assert {"< AUTH PLAIN [credentials]", "< AUTH LOGIN", "< [credentials]"} <= set(said(incoming, "smtpd"))
    server.stop()
    logs = b"".join(path.read_bytes() for path in server.logs())
    assert b"MAIL FROM" in logs and b"|" in logs and not secrets.betrayed(server.logs()), "as for each daemon of this run"


def test_credentials_are_logged_where_that_is_asked_for(greenarrow, sinks):
    sink = sinks({"EHLO": offers("PLAIN"), "other": "235 2.7.0 welcome"})
    server = greenarrow(everywhere=EVERYTHING + "log_smtp_credentials yes\n" + domain(
        "receiver.example", f"destination_username canary\ndestination_password {CANARY}\ndestination_auth_cleartext yes", sink))
    send(server)
    sink.wait_messages(1)
    found = wait_lines(server, r"\* close")
    server.logs_secrets = True
    assert f"> AUTH PLAIN {plain('canary', CANARY)}" in said(found) and not any("[credentials]" in line for line in found)
