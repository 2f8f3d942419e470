"""Access rules by the client's address: hvmail_update_tcprules, beside Debian's tcprules, and the module tcp_rules."""

import os
import random
import subprocess
import time

import pytest

from gatest import corpus, daemon, need, smtp

# Whatever tcprules takes, and what it refuses.
ODD = [
    b"", b"\n", b"#", b"# x", b"127.0.0.1:allow", b'127.:allow,RELAYCLIENT=""\n:allow\n', b" 1.2:allow  \t\n", b"no colon\nx:deny\n", b":deny\n:allow\n",
    b"1.2.3.4-7:allow,A=/b/\n", b"1.2-3.:deny\n", b"1.2.3.-5:allow\n", b"1.2.3.5-:allow\n", b"-:allow\n", b"1.2.3.9-3:allow\n", b"1.2.3.250-999:allow\n",
    b"1.2.3.a-5:allow\n", b"x=1-2:allow\n", b"a@1-2:allow\n", b'1.2.3.4:allow,A="b"c\n', b"1.2.3.4:allow,A\n", b"1.2.3.4:allow,A=\n", b'1:allow,A="\n',
    b'1:allow,="x"\n', b'1:allow,A,B="x"\n', b"1:allow,!A\n", b"1:denyx\n", b"1:allow \t \n", b"1:allow\r\n", b'1:allow,A="b",C=xdx\n', b"1\0-3.5:allow\n",
    b"1-2\0.5:allow\n", b"1-18446744073709551617:allow\n", b"18446744073709551615-3.:allow\n", b"1-2-3:allow\n", b"1.2-3.4-5:allow\n", b"1:allow,A=  \n",
    b"1:allow,A= x \n", b"\0:allow\n", b":\n", b"::allow\n", b"=h-1.2:deny", b"1-2", b"[1.2.3.4]:allow\n", b"[a:allow\n", b"[a]:allow\n",
    b"x" * 300 + b":allow\n", b"1.2.3.4:allow,A=:b:\n1.2.3.4:deny\n", b"0-255.:deny\n", b"\n".join(b'10.%d.%d-255:allow,N="%d"' % (i, i, i) for i in range(200)),
]
PIECES = [b":", b"allow", b"deny", b",", b'A="b"', b'RELAYCLIENT=""', b"-", b".", b"1", b"23", b"255", b"=", b"@", b"#", b"\n", b"\n", b" ", b"\t", b"\0", b"\r", b'"',
          b"x=/y/", b"127.0.0.1:allow\n", b"1.2.3.4-9:deny,A=|b|\n", b"[", b"]", b"\xff"]


def update(*names, config=None):
    options = [f"--config-filename={config}"] if config else []
    return subprocess.run([daemon.program("hvmail_update_tcprules"), *options, *names], capture_output=True, text=True, timeout=60, env=daemon.environment())


def stock(text, database):
    """What tcprules makes of a text; None where it refuses."""
    done = subprocess.run([need.program("tcprules", "ucspi-tcp"), database, f"{database}.tmp"], input=text, capture_output=True, timeout=30)
    return database.read_bytes() if done.returncode == 0 else None


def rule_of(database, ip):
    """What tcpserver would do with a client."""
    done = subprocess.run([need.program("tcprulescheck", "ucspi-tcp"), database], capture_output=True, text=True, timeout=30, env={"TCPREMOTEIP": ip})
    return done.stdout.splitlines()


def test_databases_are_those_of_tcprules_octet_for_octet(tmp_path):
    dice = random.Random(5)
    texts = ODD + [b"".join(dice.choice(PIECES) for _ in range(dice.randint(1, 14))) for _ in range(150)]
    for i, text in enumerate(texts):
        (tmp_path / f"{i}.tcp").write_bytes(text)
    done = update(*(f"{tmp_path}/{i}" for i in range(len(texts))))
    taken = 0
    for i, text in enumerate(texts):
        ours, theirs = tmp_path / f"{i}.tcp.cdb", stock(text, tmp_path / "stock.cdb")
        assert (ours.read_bytes() if ours.exists() else None) == theirs, text
        taken += theirs is not None
    assert done.returncode == 111 and len(done.stderr.splitlines()) == len(texts) - taken
    assert 50 < taken < len(texts) - 10, "nothing was compared"
    assert not list(tmp_path.glob("*.cdb.*")), "files of other names are left"


def test_tcprulescheck_reads_our_databases(tmp_path):
    (tmp_path / "a.tcp").write_text('192.0.2.1-3:allow,RELAYCLIENT="",A=/b/\n192.0.2.:deny\n[2001:db8::]/32:deny\n:allow\n')
    assert update(f"{tmp_path}/a").returncode == 0
    assert rule_of(tmp_path / "a.tcp.cdb", "192.0.2.3") == ["rule 192.0.2.3:", "set environment variable RELAYCLIENT=", "set environment variable A=b",
                                                          "allow connection"]
    assert rule_of(tmp_path / "a.tcp.cdb", "192.0.2.4") == ["rule 192.0.2.:", "deny connection"]
    assert rule_of(tmp_path / "a.tcp.cdb", "198.51.100.1") == ["rule :", "allow connection"]


def test_a_fault_is_told_by_file_and_line_and_the_old_database_stays(greenarrow):
    server = greenarrow(start=False)
    control = server.folder / "control"
    rules, database = control / "smtp2.tcp", control / "smtp2.tcp.cdb"
    rules.write_text(":allow\n")
    rules.chmod(0o640)
    assert update("smtp2", config=server.config).returncode == 0
    before = database.read_bytes()
    assert before == stock(b":allow\n", server.folder / "stock.cdb")
    assert database.stat().st_mode & 0o777 == 0o640, "who may read the rules may read the database"
    rules.write_text("# ok\n:allow\n192.0.2.1:reject\n")
    done = update("smtp2", config=server.config)
    assert (done.returncode, done.stdout) == (111, "") and done.stderr.startswith(f"{rules}:3: ")
    assert database.read_bytes() == before and sorted(path.name for path in control.glob("smtp2*")) == ["smtp2.tcp", "smtp2.tcp.cdb"]
    done = update("smtp3", config=server.config)
    assert done.returncode == 111 and "smtp3.tcp: No such file" in done.stderr
    assert update(config=server.config).returncode == 2
    assert update("smtp", config="/nowhere.conf").returncode == 111


# The module. One daemon: XCLIENT says which client is there, and makes connect be asked about it.

def compile_rules(server, text):
    (server.folder / "control" / "smtp.tcp").write_text(text)
    done = update("smtp", config=server.config)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def ruled(greenarrow):
    def start(rules, service="", **arguments):
        server = greenarrow(start=False, service=f"tcp_rules smtp.tcp\nxclient_from 127.0.0.1\nrelay_from 192.0.2.250\n{service}", **arguments)
        compile_rules(server, rules)
        server.start()
        return server

    return start


class Speaker(smtp.Smtp):
    """A client of that address."""

    def __init__(self, server, address):
        super().__init__(server.address)
        self.ehlo()
        self.welcome = self.cmd(f"XCLIENT ADDR={address}")
        if self.welcome.code == 220:
            self.ehlo()

    def to(self, recipient):
        self.cmd("RSET")
        assert self.cmd("MAIL FROM:<a@sender.example>").code == 250
        return self.cmd(f"RCPT TO:<{recipient}>")


def wait_until(holds, timeout=20):
    end = time.monotonic() + timeout
    while not holds() and time.monotonic() < end:
        time.sleep(0.01)
    assert holds()


def test_a_denied_client_is_turned_away_and_new_rules_take_effect_at_once(ruled):
    server = ruled("127.:allow\n192.0.2.7:deny\n[2001:db8::]/32:deny\n[2001:db8::1]:allow\n:allow\n")

    def welcome(address):
        with Speaker(server, address) as client:
            return client.welcome.code, client.welcome.enhanced

    for address, answer in (("192.0.2.7", (554, "5.7.1")), ("192.0.2.8", (220, "")), ("IPV6:2001:db8::2", (554, "5.7.1")), ("IPV6:2001:db8::1", (220, ""))):
        assert welcome(address)[0] == answer[0], address
    with Speaker(server, "192.0.2.7") as client:
        assert client.welcome.enhanced == "5.7.1" and client.closed_by_server()
    server.wait_log("GA-TCPR-0005|192.0.2.7 is denied by rule `192.0.2.7`")
    # by the other program: what it makes is in force as well
    assert stock(b"192.0.2.8:deny\n", server.folder / "control" / "smtp.tcp.cdb")
    wait_until(lambda: welcome("192.0.2.8")[0] == 554)
    assert welcome("192.0.2.7")[0] == 220
    # what is no database changes nothing
    (server.folder / "control" / "smtp.tcp.cdb").write_text("no cdb")
    server.wait_log("smtp.tcp.cdb: not a cdb, or a damaged one; the rules of before stay in force")
    assert welcome("192.0.2.8")[0] == 554


def test_variables_say_what_is_done_for_a_client(ruled, sink):
    server = ruled('192.0.2.1:allow,RELAYCLIENT=""\n192.0.2.2:allow,RELAYCLIENT="@fix.example"\n192.0.2.3:allow,RELAYCLIENT="",DATABYTES="1000"\n'
                   '192.0.2.4:allow,RELAYCLIENT="",GREENARROW_SMTP_RECEIVED_HIDE="",GREENARROW_MAILCLASS="partner"\n:allow\n', route=sink)

    with Speaker(server, "192.0.2.9") as client:
        assert client.to("b@receiver.example").code == 550
    with Speaker(server, "[UNAVAILABLE]") as client:
        assert client.to("b@receiver.example").code == 550
    with Speaker(server, "192.0.2.250") as client:      # relay_from adds up
        assert client.to("b@receiver.example").code == 250
    with Speaker(server, "192.0.2.2") as client:
        assert client.to("b@receiver.example").code == 250
        assert client.data(corpus.simple()).code == 250
    assert sink.wait_messages(1)[0].recipients == ['"b@receiver.example"@fix.example']
    with Speaker(server, "192.0.2.3") as client:
        assert client.extensions["SIZE"] == "1000"
        assert client.cmd("MAIL FROM:<a@sender.example> SIZE=1001").code == 552
        # the next client of the same connection has nothing of it
        assert client.cmd("XCLIENT ADDR=192.0.2.1").code == 220
        client.ehlo()
        assert client.extensions["SIZE"] != "1000" and client.to("b@receiver.example").code == 250
    with Speaker(server, "192.0.2.4") as client:
        assert client.to("b@receiver.example").code == 250
        assert client.data(corpus.simple()).code == 250
    wire = sink.wait_messages(2)[1].wire
    assert b"\nReceived: by mail.test.example with ESMTP id " in b"\n" + wire and b"192.0.2.4" not in wire and b"client.example" not in wire


def test_who_may_relay_by_its_rule_may_have_any_number_of_sessions(ruled):
    server = ruled('127.0.0.9:allow,RELAYCLIENT=""\n', "max_connections_per_client 1")
    for source, codes in (("127.0.0.9", [220, 220, 220]), ("127.0.0.8", [220, 421, 421])):
        sessions = [server.client(source=(source, 0)) for _ in codes]
        assert [session.banner.code for session in sessions] == codes
        for session in sessions:
            session.close()


def test_a_rule_has_the_commands_of_one_client_logged(ruled):
    server = ruled('192.0.2.5:allow,GREENARROW_LOG_SMTP_COMMANDS=""\n:allow\n')
    current = server.folder / "log" / "qmail-smtpd" / "current"
    for number, address in enumerate(("192.0.2.6", "192.0.2.5")):
        with Speaker(server, address) as client:
            assert client.cmd(f"VRFY user{number}@receiver.example").code == 252
    wait_until(lambda: current.exists() and "user1@receiver.example" in current.read_text())
    assert "user0@" not in current.read_text()


def test_validate_names_a_database_that_is_missing_or_is_none(greenarrow):
    server = greenarrow(start=False, service="tcp_rules smtp9.tcp")
    database = server.folder / "control" / "smtp9.tcp.cdb"
    for octets, why in ((None, "No such file or directory"), (b"127.0.0.1:allow\n", "not a cdb")):
        if octets:
            database.write_bytes(octets)
        done = server.run("greenarrow_config", "validate")
        assert done.returncode == 1 and f"{database}: {why}" in done.stderr, done.stderr
        assert "smtp_service smtp" in done.stderr and f"{server.config}:" in done.stderr
    (server.folder / "control" / "smtp9.tcp").write_text(":allow\n")
    assert update("smtp9", config=server.config).returncode == 0
    done = server.run("greenarrow_config", "validate")
    assert done.returncode == 0 and "smtp9" not in done.stderr
    later = database.stat().st_mtime + 1
    os.utime(server.folder / "control" / "smtp9.tcp", (later, later))
    done = server.run("greenarrow_config", "validate")
    assert done.returncode == 0 and "smtp9.tcp: warning: newer than its database" in done.stderr
