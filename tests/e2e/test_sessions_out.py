"""Outgoing sessions: AUTH at relays and SMTPS on port 465 (credentials go over TLS alone, to the right host, into no log), LIMITS."""

import base64

import pytest

from gatest import daemon, need
from gatest.badsink import Close, Default, Delay, Each, Lines, Silence, StartTls
from gatest.secrets import CANARY as PASSWORD

PLAIN = base64.b64encode(f"\0someone\0{PASSWORD}".encode())


def offers(*mechanisms):
    return Lines(250, "sink.example", "PIPELINING", f"AUTH {' '.join(mechanisms)}", "8BITMIME")


def login(session, line):
    """A server that knows PLAIN and LOGIN, and one user."""
    steps = session.__dict__.setdefault("steps", [])
    if line.upper().startswith(b"AUTH PLAIN"):
        answer = line[10:].strip()
        steps.append("PLAIN")
        return "334 " if not answer else "235 2.7.0 welcome" if answer == PLAIN else "535 5.7.8 who are you"
    if line.upper() == b"AUTH LOGIN":
        steps.append("LOGIN")
        return "334 VXNlcm5hbWU6"
    steps.append(base64.b64decode(line).decode())
    if steps[-1] == f"\0someone\0{PASSWORD}" or steps[-2:] == ["someone", PASSWORD]:
        return "235 2.7.0 welcome"
    return "334 UGFzc3dvcmQ6" if steps[-1] == "someone" else "535 5.7.8 who are you"


def relay(sink, more="", password=PASSWORD, user="someone"):
    return daemon.block("relay_server upstream", f"mta_id 5\ndestination {sink.address}\ndestination_username {user}\ndestination_password {password}\n{more}")


@pytest.fixture
def through(greenarrow):
    """A daemon that sends everything through a relay server, with credentials."""
    def make(sink, more="", **arguments):
        known = {name: arguments.pop(name) for name in ("password", "user") if name in arguments}
        return greenarrow(general="default_virtual_mta upstream", top=relay(sink, more, **known), **{"retry": "retry_schedule 1h", **arguments})
    return make


@pytest.mark.parametrize("mechanisms", [("PLAIN", "LOGIN"), ("LOGIN",), ("CRAM-MD5", "login", "plain")])
def test_credentials_are_told_over_tls(through, sinks, certificate, mechanisms):
    sink = sinks({"EHLO": lambda session, line: offers(*mechanisms) if session.tls else Default(), "other": login}, certificate=certificate)
    through(sink).submit()
    message, = sink.wait_messages(1)
    assert message.tls and message.session.steps[0] == ("LOGIN" if len(mechanisms) == 1 else "PLAIN")
    assert message.session.verbs().index("AUTH") < message.session.verbs().index("MAIL")


def test_the_form_before_the_standard_is_understood(through, sinks):
    sink = sinks({"EHLO": Lines(250, "sink.example", "AUTH=LOGIN PLAIN"), "other": login})
    through(sink, "destination_auth_cleartext yes").submit()
    assert sink.wait_messages(1)[0].session.steps == ["PLAIN"]


def test_credentials_are_not_told_in_clear(through, sinks):
    sink = sinks({"EHLO": offers("PLAIN"), "other": login})
    server = through(sink)
    server.submit()
    server.wait_log("deferral.*has no TLS, and credentials are not sent in clear")
    assert all(b"AUTH" not in command for session in sink.sessions for command in session.commands)


def test_a_failed_handshake_does_not_lead_to_credentials_in_clear(through, sinks):
    sink = sinks({"EHLO": Lines(250, "sink.example", "STARTTLS", "AUTH PLAIN"), "STARTTLS": ["220 go", Delay(0.3), b"no TLS\r\n"], "other": login})
    server = through(sink)
    server.submit()
    server.wait_log("deferral.*has no TLS")
    assert all(b"AUTH" not in command for session in sink.sessions for command in session.commands)


@pytest.mark.parametrize("answer", ["535 5.7.8 no", "454 4.7.0 not now", "504 5.5.4 what", "530 5.7.0 no", "334 VXNlcm5hbWU6"])
def test_refused_credentials_defer_the_mail(through, sinks, answer):
    sink = sinks({"EHLO": offers("PLAIN"), "other": answer})
    server = through(sink, "destination_auth_cleartext yes")
    server.submit()
    queue = server.wait_queue(disk=1, failed=0)
    assert queue["deferral_total"] == 1 and not sink.messages
    assert all("MAIL" not in session.verbs() for session in sink.sessions)


def test_a_relay_that_asks_nobody_gets_no_mail_either(through, sinks):
    sink = sinks({"EHLO": Lines(250, "sink.example", "PIPELINING")})
    server = through(sink, "destination_auth_cleartext yes")
    server.submit()
    server.wait_log("deferral.*offers neither AUTH PLAIN nor AUTH LOGIN")


def test_a_long_password_goes_without_initial_response(through, sinks):
    long = "p" * 600
    sink = sinks({"EHLO": offers("PLAIN"), "other": lambda session, line: "334 " if line == b"AUTH PLAIN" else "235 2.7.0 ok"})
    through(sink, "destination_auth_cleartext yes", password=long).submit()
    commands = sink.wait_messages(1)[0].session.commands
    assert commands[1:3] == [b"AUTH PLAIN", base64.b64encode(f"\0someone\0{long}".encode())]


def test_credentials_of_a_static_next_hop(greenarrow, sinks):
    sink, other = sinks({"EHLO": offers("PLAIN"), "other": login}), sinks({"EHLO": offers("PLAIN")})
    server = greenarrow(everywhere=daemon.block("domain receiver.example", f"smtp_route {sink.address}\ndestination_username someone\n"
                                                f"destination_password {PASSWORD}\ndestination_auth_cleartext yes")
                        + daemon.block("domain other.example", f"smtp_route {other.address}"))
    server.submit(recipients=["b@receiver.example", "b@other.example"])
    assert sink.wait_messages(1)[0].session.steps == ["PLAIN"]
    assert "AUTH" not in other.wait_messages(1)[0].session.verbs()


def test_the_password_is_in_no_log_and_not_shown(through, sinks):
    sink = sinks({"EHLO": offers("LOGIN"), "other": login})
    server = through(sink, "destination_auth_cleartext yes")
    server.submit()
    sink.wait_messages(1)
    shown = server.run("greenarrow_config", "show", "--virtual-mta=upstream").stdout
    for text in (server.log_text(), shown):
        assert PASSWORD not in text and base64.b64encode(PASSWORD.encode()).decode() not in text


# --- SMTPS ---

@pytest.fixture
def smtps(sinks, certificate):
    """A sink on port 465 that speaks TLS from the first octet."""
    need.root()

    def make(script=None, host="127.0.0.77"):
        return sinks({"connect": StartTls(), **(script or {})}, certificate=certificate, host=host, port=465)
    return make


def test_port_465_means_tls_first(through, smtps):
    sink = smtps({"EHLO": offers("PLAIN"), "other": login})
    server = through(sink)
    server.submit()
    message, = sink.wait_messages(1)
    assert message.tls and message.session.steps == ["PLAIN"] and "STARTTLS" not in message.session.verbs()


def test_a_failed_handshake_on_port_465_sends_nothing_in_clear(greenarrow, sinks):
    need.root()
    sink = sinks({"connect": b"220 plain.example ESMTP\r\n"}, host="127.0.0.77", port=465)
    server = greenarrow(route=sink, retry="retry_schedule 1h")
    server.submit()
    server.wait_queue(disk=1)
    assert all(b"EHLO" not in session.received and b"MAIL" not in session.received for session in sink.sessions)


def test_a_stalled_handshake_on_port_465_is_shown_as_such(greenarrow, sinks):
    need.root()
    sink = sinks({"connect": Silence()}, host="127.0.0.77", port=465)
    server = greenarrow(route=sink, general="smtp_tls_timeout 5s")
    server.submit()
    sink.wait_sessions(1)
    shown = server.run("greenarrow", "remote_connections", "--json").stdout
    assert '"state": "establishing_smtps"' in shown and '"current_smtp_command": ""' in shown


# --- LIMITS ---

def test_announced_limits_are_kept(greenarrow, sinks):
    sink = sinks(extensions=["PIPELINING", "LIMITS RCPTMAX=3 MAILMAX=2"])
    server = greenarrow(route=sink, everywhere="reuse_connections yes\nreuse_connections_max_messages 100")
    server.submit(recipients=[f"b{i}@receiver.example" for i in range(10)])
    server.wait_empty()
    assert sorted(len(message.recipients) for message in sink.messages) == [1, 3, 3, 3]
    assert max(session.verbs().count("MAIL") for session in sink.sessions) <= 2
    assert sorted(to for message in sink.messages for to in message.recipients) == sorted(f"b{i}@receiver.example" for i in range(10))


# --- verified TLS, REQUIRETLS (RFC 8689) ---

MX = "mx.receiver.example"
TLS_OFFERS = ["PIPELINING", "8BITMIME", "REQUIRETLS"]


@pytest.fixture
def verified(greenarrow, dns, sinks, certificate):
    """A daemon that trusts the tests' certificate and finds its receiver under `name`; and the receiver."""
    need.root()

    def make(name=MX, trust=True, extensions=TLS_OFFERS, script=None, tls=True, **arguments):
        sink = sinks(script, extensions=extensions, certificate=certificate if tls else None, host="127.0.0.77", port=25)
        arguments["general"] = (f"tls_trust_file {certificate[0]}\n" if trust else "") + arguments.get("general", "")
        server = greenarrow(dns=dns({"receiver.example": f"MX 10 {name}.", name: f"A {sink.host}"}),
                            service=f"tls_certificate_files {certificate[0]}, {certificate[1]}", **{"retry": "retry_schedule 1h", **arguments})
        return server, sink
    return make


def test_a_valid_certificate_is_accepted(verified):
    server, sink = verified(everywhere="tls_verify yes")
    server.submit()
    assert sink.wait_messages(1)[0].tls


@pytest.mark.parametrize("how", [{"trust": False}, {"name": "mx.other.example"}, {"tls": False}], ids=["unknown authority", "other name", "no TLS"])
def test_without_a_valid_certificate_nothing_is_sent(verified, how):
    server, sink = verified(everywhere="tls_verify yes", **how)
    server.submit()
    server.wait_queue(disk=1)
    assert server.queue()["deferral_total"] == 1
    assert all("MAIL" not in session.verbs() for session in sink.sessions)


def test_a_refused_starttls_is_no_way_around_it(verified):
    server, sink = verified(everywhere="tls_verify yes", script={"STARTTLS": "454 4.7.0 not now"})
    server.submit()
    server.wait_queue(disk=1)
    assert all("MAIL" not in session.verbs() for session in sink.sessions)


def test_requiretls_is_passed_on_over_verified_tls(verified):
    server, sink = verified()
    server.submit(tls=True, parameters="REQUIRETLS")
    message, = sink.wait_messages(1)
    assert message.tls and message.parameters.endswith("REQUIRETLS")


def test_requiretls_takes_no_connection_that_was_not_verified(verified):
    server, sink = verified(everywhere="reuse_connections yes")
    server.submit()
    server.wait_empty()
    server.submit(tls=True, parameters="REQUIRETLS")
    server.wait_empty()
    server.submit()
    server.wait_empty()
    assert ["REQUIRETLS" in message.parameters for message in sink.messages] == [False, True, False]
    assert [message.session.number for message in sink.messages] == [0, 1, 1], "a new one; which serves others, too"
    assert server.queue()["deferral_total"] == 0, "without penalty"


@pytest.mark.parametrize("how, counter", [({"extensions": ["8BITMIME"]}, "failure_total"), ({"trust": False}, "deferral_total"),
                                          ({"tls": False}, "failure_total"), ({"everywhere": "starttls_use no"}, None)],
                         ids=["not offered", "not verified", "no TLS", "whatever starttls_use says"])
def test_requiretls_is_kept(verified, how, counter):
    server, sink = verified(**how)
    server.submit(tls=True, parameters="REQUIRETLS")
    if counter is None:
        assert sink.wait_messages(1)[0].tls
    else:
        server.wait_queue(**{counter: 1})
        assert not sink.attempts


def test_what_one_domain_asks_of_a_connection_is_not_asked_for_the_next(greenarrow, dns, sinks, certificate):
    """A verified connection serves another domain of its group; found closed there, it is replaced as that domain wants it."""
    need.root()
    sink = sinks({"MAIL": Each(Default(), Close(), Default())}, certificate=certificate, host="127.0.0.77", port=25)
    server = greenarrow(dns=dns({name: f"MX 10 {MX}." for name in ("strict.example", "easy.example")} | {MX: f"A {sink.host}"}),
                        general=f"tls_trust_file {certificate[0]}", retry="retry_schedule 1h", everywhere="reuse_connections yes\n"
                        + daemon.block("domain strict.example, easy.example", "max_concurrent_connections 5") + daemon.block("domain strict.example", "tls_verify yes"))
    server.submit(recipients=["b@strict.example"])
    server.wait_empty()
    sink.tls_context = None                     # no TLS from here on
    server.submit(recipients=["b@easy.example"])
    server.wait_empty()
    assert [message.tls is not None for message in sink.messages] == [True, False]
    assert [session.verbs().count("MAIL") for session in sink.sessions] == [2, 1], "the saved connection was tried"
    assert server.queue()["deferral_total"] == 0
