"""AUTH: clients written by others log in by every mechanism; what an attacker tries meets the same answer in the same time."""

import base64
import hashlib
import hmac
import smtplib
import socket
import ssl
import subprocess
import time

import pytest

from gatest import clients, corpus, daemon, need, ports, smtp
from gatest.secrets import CANARY, PASSWORD, traces



def b64(octets):
    return base64.b64encode(octets if isinstance(octets, bytes) else octets.encode()).decode()


def plain(name, password, authzid=""):
    return b64(f"{authzid}\0{name}\0{password}")


def scram_entry(password, iterations=4096):
    salt = b"salt of sixteen."
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    client, server = (hmac.new(salted, label, "sha256").digest() for label in (b"Client Key", b"Server Key"))
    return "{SCRAM-SHA-256}%d,%s,%s,%s" % (iterations, b64(salt), b64(hashlib.sha256(client).digest()), b64(server))


def entry(server, name, *arguments, password=PASSWORD):
    """What `greenarrow smtp_user` prints."""
    done = subprocess.run([str(daemon.program("greenarrow")), f"--config-filename={server.config}", "smtp_user", *arguments, name],
                          input=password + "\n", capture_output=True, text=True, env=daemon.environment(), timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def write_users(server, text):
    path = server.folder / "control" / "smtp_users"
    path.write_text(text)
    path.chmod(0o640)


_lines = {}


def line_of(server, *arguments):
    """The same, made once a run."""
    if arguments not in _lines:
        _lines[arguments] = entry(server, *arguments)
    return _lines[arguments]


@pytest.fixture
def submission(greenarrow, certificate):
    """A daemon that relays for nobody but ann (SCRAM keys), bob (yescrypt, a mail class) and the canary."""
    def make(service="smtp_auth optional", start=True, users=None, **arguments):
        server = greenarrow(start=False, service=f"tls_certificate_files {certificate[0]}, {certificate[1]}\nrelay_from 192.0.2.1\n"
                            f"smtpd_auth_delay 100ms\n{service}", **arguments)
        write_users(server, users if users is not None else
                    "# who may\n\n" + line_of(server, "ann") + line_of(server, "bob", "--crypt", "--mail-class=newsletter")
                    + f"canary:{scram_entry(CANARY)}\n")
        return server.start() if start else server

    return make


def login(client, name="ann", password=PASSWORD):
    return client.cmd("AUTH PLAIN " + plain(name, password))


# Clients written by others.

def with_smtplib(address, user, password, mechanism, implicit=False):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with smtplib.SMTP_SSL(*address, timeout=30, context=context) if implicit else smtplib.SMTP(*address, timeout=30) as client:
        if not implicit:
            client.starttls(context=context)
        client.ehlo()
        client.user, client.password = user, password
        code, _ = client.auth(mechanism.lower(), getattr(client, f"auth_{mechanism.lower()}"))
        assert code == 235
        client.sendmail(clients.SENDER, ["b@receiver.example"], corpus.simple())


def with_swaks(address, user, password, mechanism, implicit=False):
    clients._run([need.program("swaks", "swaks"), "--server", f"{address[0]}:{address[1]}", "--tls-on-connect" if implicit else "--tls", "--auth", mechanism, "--auth-user", user,
                  "--auth-password", password, "--from", clients.SENDER, "--to", "b@receiver.example", "--timeout", "30"])


def with_msmtp(address, user, password, mechanism, implicit=False):
    clients._run([need.program("msmtp", "msmtp"), "--file=/dev/null", f"--host={address[0]}", f"--port={address[1]}", "--tls=on",
                  f"--tls-starttls={'off' if implicit else 'on'}", "--tls-certcheck=off", f"--auth={mechanism.lower()}", f"--user={user}",
                  f"--passwordeval=echo '{password}'", f"--from={clients.SENDER}", "--", "b@receiver.example"], input=b"Subject: x\n\nbody\n")


def with_curl(address, user, password, mechanism, implicit=False):
    clients._run([need.program("curl", "curl"), "-sS", "--ssl-reqd", "--insecure", f"smtp{'s' if implicit else ''}://{address[0]}:{address[1]}/client.example",
                  "--login-options", f"AUTH={mechanism}", "--user", f"{user}:{password}", "--mail-from", clients.SENDER,
                  "--mail-rcpt", "b@receiver.example", "--upload-file", "-"], input=b"Subject: x\r\n\r\nbody\r\n")


NODEMAILER = """
const nodemailer = require('nodemailer');
const [host, port, user, pass, method, secure] = process.argv.slice(2);
const transport = nodemailer.createTransport({host, port: Number(port), secure: secure === 'yes', requireTLS: true, name: 'client.example',
    tls: {rejectUnauthorized: false}, auth: {user, pass}, authMethod: method});
transport.sendMail({from: 'a@sender.example', to: 'b@receiver.example', subject: 'x', text: 'body'}).then(
    () => transport.close(), error => { console.error(error); process.exit(1); });
"""


def with_nodemailer(address, user, password, mechanism, implicit=False):
    script = clients.nodemailer_folder() / "auth.js"
    script.write_text(NODEMAILER)
    clients._run([need.program("node", "nodejs"), str(script), address[0], str(address[1]), user, password, mechanism, "yes" if implicit else "no"])


BY = {"smtplib": with_smtplib, "swaks": with_swaks, "msmtp": with_msmtp, "curl": with_curl, "nodemailer": with_nodemailer}


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("name", list(BY))
def test_clients_log_in_and_relay(submission, sink, name, mechanism):
    server = submission(route=sink)
    for user in ("ann", "bob"):
        BY[name](server.address, user, PASSWORD, mechanism)
    for message in sink.wait_messages(2):
        assert b"with ESMTPSA" in message.wire.split(b"\r\n\r\n")[0]
    server.wait_empty()


@pytest.mark.parametrize("name", list(BY))
def test_clients_log_in_over_implicit_tls(submission, sink, name):
    address = ("127.0.0.1", ports.free_port())
    server = submission(f"smtp_auth required\nlisten_tls 127.0.0.1:{address[1]}", route=sink)
    BY[name](address, "ann", PASSWORD, "PLAIN", implicit=True)
    assert b"with ESMTPSA" in sink.wait_messages(1)[0].wire.split(b"\r\n\r\n")[0]
    server.wait_empty()


def test_msmtp_logs_in_by_scram(submission, sink):
    server = submission(route=sink)
    with server.client() as client:
        client.ehlo()
        assert client.extensions.get("AUTH") == "SCRAM-SHA-256", "the only one that is safe without TLS"
        client.starttls()
        client.ehlo()
        assert client.extensions["AUTH"] == "PLAIN LOGIN SCRAM-SHA-256"
    with_msmtp(server.address, "ann", PASSWORD, "SCRAM-SHA-256")
    assert b"with ESMTPSA" in sink.wait_messages(1)[0].wire
    with pytest.raises(AssertionError, match="535|authentication failed"):
        with_msmtp(server.address, "ann", PASSWORD + "x", "SCRAM-SHA-256")
    with pytest.raises(AssertionError, match="535|authentication failed"):
        with_msmtp(server.address, "bob", PASSWORD, "SCRAM-SHA-256")     # has no keys


# SCRAM by hand: what a server may not let pass.

class Scram:
    """The client's side, to be bent."""

    def __init__(self, client, user="ann", password=PASSWORD, first="n,,"):
        self.client, self.password, self.first = client, password, first
        self.bare = f"n={user},r=fyko+d2lbbFgONRv9qkxdawL"

    def run(self, nonce=None, final=lambda text: text):
        reply = self.client.cmd("AUTH SCRAM-SHA-256 " + b64(self.first + self.bare))
        if reply.code != 334:
            return reply
        challenge = base64.b64decode(reply.lines[0]).decode()
        parts = dict(part.split("=", 1) for part in challenge.split(","))
        assert parts["r"].startswith("fyko+d2lbbFgONRv9qkxdawL") and len(parts["r"]) > 30
        salted = hashlib.pbkdf2_hmac("sha256", self.password.encode(), base64.b64decode(parts["s"]), int(parts["i"]))
        key = hmac.new(salted, b"Client Key", "sha256").digest()
        without = f"c={b64(self.first)},r={nonce or parts['r']}"
        signed = ",".join([self.bare, challenge, without]).encode()
        signature = hmac.new(hashlib.sha256(key).digest(), signed, "sha256").digest()
        proof = bytes(a ^ b for a, b in zip(key, signature))
        reply = self.client.cmd(b64(final(f"{without},p={b64(proof)}")))
        if reply.code != 334:
            return reply
        server = hmac.new(hmac.new(salted, b"Server Key", "sha256").digest(), signed, "sha256").digest()
        assert base64.b64decode(reply.lines[0]).decode() == f"v={b64(server)}", "the server knows the keys too"
        return self.client.cmd("")


def test_scram_proves_both_sides(submission, sink):
    server = submission(route=sink)
    with server.client() as client:
        client.ehlo()
        assert Scram(client).run().code == 235
        client.envelope()
        assert client.data(corpus.simple()).code == 250
    assert b"with ESMTPA " in sink.wait_messages(1)[0].wire


@pytest.mark.parametrize("bent", [
    {"password": "wrong"}, {"user": "nobody"}, {"user": "bob"}, {"first": "n,a=bob,"}, {"nonce": "fyko+d2lbbFgONRv9qkxdawL"},
    {"final": lambda text: text[:-4] + "AAA="}, {"final": lambda text: text.replace("c=biws", "c=eSws")}, {"final": lambda text: text.split(",p=")[0]},
    {"final": lambda text: ""}, {"final": lambda text: text + ",x=y"}, {"first": "p=tls-unique,,"},
])
def test_scram_that_proves_nothing_is_refused(submission, bent):
    server = submission("smtp_auth optional\nmax_auth_failures 10")
    made = {name: bent[name] for name in ("user", "password", "first") if name in bent}
    run = {name: bent[name] for name in ("nonce", "final") if name in bent}
    with server.client() as client:
        client.ehlo()
        assert Scram(client, **made).run(**run).code == 535
        assert client.cmd("MAIL FROM:<a@sender.example>").code == 250
        assert client.cmd("RCPT TO:<b@receiver.example>").code == 550
        assert client.cmd("RSET").code == 250
        assert Scram(client).run().code == 235


def test_a_scram_proof_cannot_be_said_again(submission):
    server = submission()
    said = []
    with server.client() as client:
        client.ehlo()
        assert Scram(client).run(final=lambda text: said.append(text) or text).code == 235
    with server.client() as client:
        client.ehlo()
        assert Scram(client).run(final=lambda text: said[0]).code == 535


# What a service asks for.

@pytest.mark.parametrize("service", ["smtp_auth required", "require_auth yes", "smtp_auth optional\nrequire_auth yes"])
def test_required_auth_comes_before_mail_whatever_the_address(submission, sink, service):
    server = submission(f"{service}\nrelay_from 127.0.0.0/8", route=sink)
    with server.client() as client:
        client.ehlo()
        reply = client.cmd("MAIL FROM:<a@sender.example>")
        assert (reply.code, reply.enhanced) == (530, "5.7.0")
        client.starttls()
        client.ehlo()
        assert client.cmd("MAIL FROM:<a@sender.example>").code == 530
        assert login(client).code == 235
        client.envelope()


def test_required_tls_comes_before_everything_else(submission):
    server = submission("smtp_auth optional\nrequire_tls yes")
    with server.client() as client:
        client.ehlo()
        for line in ("MAIL FROM:<a@sender.example>", "AUTH PLAIN " + plain("ann", PASSWORD), "VRFY x", "AUTH SCRAM-SHA-256"):
            reply = client.cmd(line)
            assert (reply.code, reply.enhanced) == (530, "5.7.0"), line
        assert client.cmd("NOOP").code == 250
        client.starttls()
        client.ehlo()
        assert login(client).code == 235
        client.envelope()


def test_without_tls_there_is_no_plain_unless_told_so(submission):
    server = submission()
    with server.client() as client:
        client.ehlo()
        reply = login(client)
        assert (reply.code, reply.enhanced) == (538, "5.7.11")
        assert client.cmd("AUTH LOGIN").code == 538
    server.change(service="smtp_auth optional\nsmtp_auth_without_tls yes\nrelay_from 192.0.2.1")
    assert server.run("greenarrow_config", "reload").returncode == 0
    with server.client() as client:
        client.ehlo()
        assert client.extensions["AUTH"] == "PLAIN LOGIN SCRAM-SHA-256"
        assert login(client).code == 235


def test_smtp_auth_is_off_unless_said(submission):
    with submission("").client() as client:
        client.ehlo()
        assert "AUTH" not in client.extensions
        assert login(client).code == 502


# The users.

def test_users_are_read_again_at_a_reload_and_by_sighup(submission):
    server = submission()
    write_users(server, f"dora:{scram_entry('new')}\n")
    with server.client() as client:
        client.ehlo()
        client.starttls()
        client.ehlo()
        assert server.run("greenarrow_config", "reload").returncode == 0
        assert login(client, "dora", "new").code == 535, "a session ends on what it began with"
        assert login(client).code == 235
    with server.client() as client:
        client.ehlo()
        client.starttls()
        client.ehlo()
        assert login(client).code == 535
        assert login(client, "dora", "new").code == 235
    write_users(server, f"emil:{scram_entry('newer')}\n")
    server.process.send_signal(1)
    server.wait_log("configuration reloaded", times=2)
    with server.client() as client:
        client.ehlo()
        client.starttls()
        client.ehlo()
        assert login(client, "emil", "newer").code == 235


def test_a_bad_line_is_told_with_its_place_and_refuses_a_reload(submission):
    server = submission()
    before = (server.folder / "control" / "smtp_users").read_text()
    write_users(server, before + "eve:plaintext\n")
    line = before.count("\n") + 1
    server.expect_log("smtp_users|reload refused")
    done = server.run("greenarrow_config", "validate")
    assert done.returncode == 1
    assert f"{server.folder}/control/smtp_users:{line}:5: not a password hash" in done.stderr
    assert server.run("greenarrow_config", "reload").returncode == 1
    with server.client() as client:
        client.ehlo()
        client.starttls()
        client.ehlo()
        assert login(client).code == 235, "the users before stay"


def test_without_a_readable_file_auth_is_for_later(submission):
    server = submission("smtp_auth required", start=False)
    path = server.folder / "control" / "smtp_users"
    text = path.read_text()
    path.unlink()
    done = server.run("greenarrow_config", "validate")
    assert done.returncode == 0 and "smtp_users: warning: No such file" in done.stderr
    server.start()
    with server.client() as client:
        client.ehlo()
        client.starttls()
        client.ehlo()
        reply = login(client)
        assert (reply.code, reply.enhanced) == (454, "4.7.0")
    write_users(server, text)
    assert server.run("greenarrow_config", "reload").returncode == 0
    with server.client() as client:
        client.ehlo()
        client.starttls()
        client.ehlo()
        assert login(client).code == 235


@pytest.mark.parametrize("service, message", [
    ("smtp_auth off\nrequire_auth yes", "require_auth yes needs AUTH, and smtp_auth is off"),
    ("require_tls yes", "require_tls yes needs tls_certificate_files"),
])
def test_services_that_contradict_themselves_are_refused(greenarrow, service, message):
    server = greenarrow(start=False, service=service)
    done = server.run("greenarrow_config", "validate")
    assert done.returncode == 1 and message in done.stderr


def test_entries_made_by_the_command_are_what_it_was_asked_for(submission):
    server = submission(start=False)
    made = entry(server, "x@y.example", "--mail-class=promo", password="pass:word")
    name, hashed, mail_class = made.rstrip("\n").split(":")
    assert (name, mail_class) == ("x@y.example", "promo") and hashed.startswith("{SCRAM-SHA-256}65536,")
    assert entry(server, "x") != entry(server, "x"), "salted"
    assert entry(server, "x", "--crypt").startswith("x:$y$")
    write_users(server, made)
    server.start()
    with server.client() as client:
        client.ehlo()
        client.starttls()
        client.ehlo()
        assert login(client, "x@y.example", "pass:word").code == 235
    for arguments, code in ((["a:b"], 1), (["--mail-class=1", "a"], 1), ([], 2), (["--no", "a"], 2)):
        done = subprocess.run([str(daemon.program("greenarrow")), f"--config-filename={server.config}", "smtp_user", *arguments], input="x\n",
                              capture_output=True, text=True, env=daemon.environment(), timeout=60)
        assert done.returncode == code and not done.stdout and done.stderr


# What an attacker tries.

def test_many_attempts_end_the_session_and_then_the_client(submission):
    server = submission("smtp_auth optional\nmax_auth_failures_per_client 6\nsmtp_auth_without_tls yes")
    for _ in range(2):
        with server.client() as client:
            client.ehlo()
            for n in range(3):
                assert login(client, password=f"guess {n}").code == 535
            assert client.reply().code == 421
            assert client.closed_by_server()
    with server.client() as client:
        client.ehlo()
        reply = login(client)
        assert (reply.code, reply.enhanced) == (454, "4.7.0"), "not even with the right one"
    with server.client(source=("127.0.0.3", 0)) as client:
        client.ehlo()
        assert login(client).code == 235, "another client is another client"


def test_a_wrong_password_and_an_unknown_user_look_the_same(submission):
    server = submission("smtp_auth optional\nsmtp_auth_without_tls yes\nsmtpd_auth_delay 500ms\nmax_auth_failures_per_client 0")
    seen = {}
    for name in ("ann", "bob", "nobody"):
        with server.client() as client:
            client.ehlo()
            started = time.monotonic()
            reply = login(client, name, "wrong")
            seen[name] = (reply.code, reply.text)
            assert 0.45 < time.monotonic() - started < 5
    assert len(set(seen.values())) == 1


def test_hashing_holds_up_nobody_else(submission):
    server = submission("smtp_auth optional\nsmtp_auth_without_tls yes", workers=1,
                        users=f"slow:{scram_entry('x', 3000000)}\n")
    slow = [server.client() for _ in range(4)]
    for client in slow:
        client.ehlo()
        client.send(f"AUTH PLAIN {plain('slow', 'x')}\r\n")
    longest = 0
    with server.client() as client:
        for _ in range(20):
            started = time.monotonic()
            assert client.cmd("NOOP").code == 250
            longest = max(longest, time.monotonic() - started)
    for client in slow:
        assert client.reply().code == 235
        client.close()
    assert longest < 0.5, "the loop of all of them stood still"


@pytest.mark.parametrize("line, code", [
    ("!", 501), ("A", 501), ("AA", 501), ("AAA", 501), ("AAAA", 501), ("AA==", 501), ("AAA=", 535), ("AA=", 501), ("=", 501), ("====", 501), ("A===", 501),
    ("AGFubg BwZW5jaWw=", 501), (" AGFubgBwZW5jaWw=", 501), ("AGFubgBwZW5jaWw= ", 501), ("AGFu\tbgBw", 501), ("AGFubgBwZW5jaWw", 501),
    (b64("\0a\0n\0n\0x"), 501), (b64("\0ann\0" + PASSWORD + "\0"), 501), (b64(b"\0\xff\xfe\0\x80"), 535), (b64("\0" + "n" * 3000 + "\0p"), 535),
    ("A" * 12286, 501), ("A" * 12284, 501), ("A" * 12287, 500), ("A" * 20000, 500), ("*", 501), ("", 501),
])
def test_responses_that_are_no_response(submission, line, code):
    server = submission("smtp_auth optional\nsmtp_auth_without_tls yes")
    with server.client() as client:
        client.ehlo()
        assert client.cmd("AUTH PLAIN").code == 334
        assert client.cmd(line).code == code
        assert client.cmd("NOOP").code == 250
        assert login(client).code == 235


@pytest.mark.parametrize("user", ["ann\0", "\0ann", "an\0n"])
def test_nul_in_a_user_name(submission, user):
    server = submission("smtp_auth optional\nsmtp_auth_without_tls yes")
    with server.client() as client:
        client.ehlo()
        assert client.cmd("AUTH LOGIN").code == 334
        assert client.cmd(b64(user)).code == 501
        assert client.cmd(f"AUTH PLAIN {plain(user, PASSWORD)}").code == 501
        assert login(client).code == 235


@pytest.mark.parametrize("state", ["command", "AUTH", "DATA", "BDAT"])
@pytest.mark.parametrize("behind", [b"", b"x", b"\r\n.\r\nQUIT\r\n", b"A" * 64])
@pytest.mark.parametrize("reset", [False, True])
def test_the_end_of_tls_is_the_end_whatever_comes_behind_it(submission, state, behind, reset):
    server = submission()
    with server.client() as client:
        client.ehlo()
        client.starttls()
        client.ehlo()
        if state == "AUTH":
            assert client.cmd("AUTH PLAIN").code == 334
        if state == "DATA":
            assert login(client).code == 235
            client.envelope()
            assert client.cmd("DATA").code == 354
            client.send(b"Subject: half\r\n")
        if state == "BDAT":
            assert login(client).code == 235
            client.envelope()
            client.send(b"BDAT 1000 LAST\r\nSubject: half\r\n")
        plain_socket = socket.fromfd(client.sock.fileno(), socket.AF_INET, socket.SOCK_STREAM)
        client.sock.setblocking(False)
        try:
            client.sock.unwrap()        # close_notify
        except (ssl.SSLError, OSError):
            pass
        plain_socket.setblocking(True)
        plain_socket.settimeout(10)
        try:
            plain_socket.sendall(behind)
            if reset:
                plain_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            else:
                while plain_socket.recv(4096):
                    pass
        except ConnectionError:
            pass
        plain_socket.close()
    with server.client() as client:
        client.ehlo()
        assert Scram(client).run().code == 235
    assert server.queue()["envelopes"] == 0


# Nothing of it is written anywhere.

def test_no_password_is_in_any_log_or_file_of_the_queue(submission, sink):
    server = submission("smtp_auth optional\nsmtp_auth_without_tls yes\nmax_auth_failures 20\nmax_auth_failures_per_client 0", route=sink,
                        general="log_level debug")
    with server.client() as client:
        client.ehlo()
        assert login(client, "canary", CANARY + "x").code == 535
        assert login(client, CANARY, "x").code == 535
        client.cmd("AUTH LOGIN")
        client.cmd(b64(CANARY))
        client.cmd(b64(CANARY))
        client.cmd("AUTH " + b64(CANARY))
        client.cmd(b64(CANARY))
        assert login(client, "canary", CANARY).code == 235
        client.envelope()
        assert client.data(corpus.simple()).code == 250
    sink.wait_messages(1)
    server.stop()
    found = [path for path in server.folder.rglob("*") if path.is_file() and any(trace in path.read_bytes() for trace in traces(CANARY))]
    assert not found, f"a password is in {found}"
