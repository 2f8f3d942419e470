"""reuse_connections: a saved connection serves what the receiver could not tell apart, and nothing else; it costs no attempt when it is gone."""

import time

import pytest

from gatest import corpus, daemon
from gatest.badsink import Close, Default, Each, Reset
from test_remote_connections import wait_connections

GROUP = "domain one.example, two.example {\n  max_concurrent_connections 10\n}\n"
TIMES = "reuse_connections_timeout 10m\n"


def saved(server, count=1):
    return wait_connections(server, lambda found: [c["state"] for c in found] == ["saved_for_reuse"] * count)


class Reusing:
    """A daemon that has delivered to one.example and saved the connection; one.example and two.example are one throttle group."""

    def __init__(self, greenarrow, sinks, one="", two="", **sink):
        self.sinks = sinks
        self.sink = sinks(**sink)
        self.one, self.two = one, two
        self.server = greenarrow(ip=GROUP, everywhere=self.everywhere())
        self.server.submit(recipients=["a@one.example"])
        self.sink.wait_messages(1)
        self.first, = saved(self.server)

    def everywhere(self, more="", one=None, two=None):
        return (f"reuse_connections yes\n{TIMES}{more}\n" + daemon.block("domain one.example", f"smtp_route {(one or self.sink).address}\n{self.one}")
                + daemon.block("domain two.example", f"smtp_route {(two or self.sink).address}\n{self.two}"))

    def reload(self, **arguments):
        self.server.change(**arguments)
        done = self.server.run("greenarrow_config", "reload")
        assert done.returncode == 0, done.stderr

    def next_session(self, domain="two.example", sink=None):
        """The session that the next message to DOMAIN comes by."""
        sink = sink or self.sink
        before = len(sink.messages)
        self.server.submit(recipients=[f"b@{domain}"])
        return sink.wait_messages(before + 1)[-1].session

    def assert_not_shared(self, domain="two.example", sink=None):
        session = self.next_session(domain, sink)
        assert session is not self.sink.sessions[0], "by a connection of its own"
        assert len(self.sink.sessions[0].commands) < 7 and not self.sink.sessions[0].closed, "the saved one is left alone"
        assert len({c["throttle_group_key"] for c in saved(self.server, 2)}) == 1, "it would have been of the same group"
        return session


@pytest.fixture
def reusing(greenarrow, sinks):
    return lambda **arguments: Reusing(greenarrow, sinks, **arguments)


def test_another_domain_of_the_group_uses_it(reusing):
    one = reusing()
    assert one.next_session("two.example") is one.sink.sessions[0]
    assert one.next_session("one.example") is one.sink.sessions[0]
    again, = saved(one.server)
    assert again["id"] == one.first["id"] and again["deliveries_done"] == 3
    assert (again["initial_domain"], again["most_recent_domain"]) == ("one.example", "one.example")
    assert one.sink.sessions[0].verbs() == ["EHLO"] + ["MAIL", "RCPT", "DATA"] * 3


def test_a_reload_that_changes_nothing_of_it_keeps_it(reusing):
    one = reusing()
    one.reload(everywhere=one.everywhere("smtp_quit_timeout 3s"))
    assert one.next_session("one.example") is one.sink.sessions[0]


def test_another_source_address_is_not_shared(reusing):
    one = reusing()
    one.reload(source="127.0.0.3 mail1.test.example")
    assert one.assert_not_shared("one.example").peer[0] == "127.0.0.3"


def test_another_ehlo_name_is_not_shared(reusing):
    one = reusing()
    one.reload(source="127.0.0.2 mail2.test.example")
    assert one.assert_not_shared("one.example").commands[0] == b"EHLO mail2.test.example"


def test_another_port_of_the_host_is_not_shared(reusing):
    one = reusing()
    other = one.sinks()
    one.reload(everywhere=one.everywhere(two=other))
    one.assert_not_shared(sink=other)


def test_another_address_of_the_host_is_not_shared(reusing):
    one = reusing()
    other = one.sinks(host="127.0.0.7", port=one.sink.port)
    one.reload(everywhere=one.everywhere(two=other))
    one.assert_not_shared(sink=other)


def test_another_mx_name_is_not_shared_though_its_address_is(greenarrow, sinks, dns):
    sink = sinks(host="127.0.0.9")
    zone = dns({"mx1.example": ["A 127.0.0.9"], "mx2.example": ["A 127.0.0.9"]})
    server = greenarrow(dns=zone, ip=GROUP, everywhere=f"reuse_connections yes\n{TIMES}domain one.example {{\n  smtp_route mx1.example:{sink.port}\n}}\n"
                        f"domain two.example {{\n  smtp_route mx2.example:{sink.port}\n}}\n")
    for number, domain in enumerate(("one.example", "two.example"), 1):
        server.submit(recipients=[f"a@{domain}"])
        sink.wait_messages(number)
        saved(server, number)
    assert [c["mx_hostname"] for c in saved(server, 2)] == ["mx1.example", "mx2.example"]
    assert len(sink.sessions) == 2


@pytest.mark.parametrize("policy", ["starttls_use no", "starttls_require yes"])
def test_another_tls_policy_is_not_shared(reusing, certificate, policy):
    one = reusing(two=policy, certificate=certificate)
    assert bool(one.assert_not_shared().tls) == (policy == "starttls_require yes")


def credentials(user, password):
    return f"destination_username {user}\ndestination_password {password}\ndestination_auth_cleartext yes"


@pytest.mark.parametrize("other", [("someone", "y"), ("else", "x"), None], ids=["password", "user name", "none at all"])
def test_other_credentials_are_not_shared(reusing, other):
    one = reusing(one=credentials("someone", "x"), two=credentials(*other) if other else "", script={"other": "235 2.7.0 ok"}, extensions=["AUTH PLAIN"])
    session = one.assert_not_shared()
    assert ("AUTH" in session.verbs()) == bool(other)


def test_the_same_credentials_are_told_once(reusing):
    one = reusing(one=credentials("someone", "x"), two=credentials("someone", "x"), script={"other": "235 2.7.0 ok"}, extensions=["AUTH PLAIN"])
    assert one.next_session() is one.sink.sessions[0]
    assert one.sink.sessions[0].verbs().count("AUTH") == 1


def test_what_requires_tls_never_comes_by_a_connection_in_clear(greenarrow, sinks, certificate):
    """The first connection is in clear because the handshake failed; the policy changes; the receiver has been repaired."""
    sink = sinks(scripts=[{"STARTTLS": ["220 2.0.0 go", Close()]}, {"EHLO": Default()}], certificate=certificate)
    one = Reusing(greenarrow, lambda **_: sink, two="starttls_require yes")
    assert [c["tls_active"] for c in saved(one.server)] == [False]
    assert one.next_session("two.example").tls
    assert [c["tls_active"] for c in saved(one.server, 2)] == [False, True]


def test_a_domain_without_reuse_does_not_use_it(reusing):
    one = reusing(two="reuse_connections no")
    session = one.next_session()
    assert session is not one.sink.sessions[0]
    one.sink.wait_for(lambda: session.closed)
    assert session.verbs()[-1] == "QUIT" and len(saved(one.server)) == 1


def test_a_domain_that_allows_fewer_messages_does_not_use_it_beyond_them(reusing):
    one = reusing(two="reuse_connections_max_messages 1")
    assert one.next_session() is not one.sink.sessions[0]


def test_another_group_does_not_use_it(greenarrow, sink):
    server = greenarrow(route=sink, everywhere=f"reuse_connections yes\n{TIMES}")
    for number, domain in enumerate(("one.example", "two.example"), 1):
        server.submit(recipients=[f"a@{domain}"])
        sink.wait_messages(number)
        saved(server, number)
    assert len(sink.sessions) == 2
    assert {c["throttle_group_key"] for c in saved(server, 2)} == {"2,one.example", "2,two.example"}


def test_another_virtual_mta_does_not_use_it(greenarrow, sink):
    """The two differ in nothing but the VirtualMTA."""
    server = greenarrow(route=sink, everywhere=f"reuse_connections yes\n{TIMES}",
                        ip="domain receiver.example {\n  max_concurrent_connections 10\n}\n",
                        top="ip_address ip-2 {\n  mta_id 3\n  smtp_source 127.0.0.2 mail1.test.example\n}\n")
    server.submit()
    sink.wait_messages(1)
    saved(server)
    server.change(general="default_virtual_mta ip-2")
    text = server.config.read_text().replace("default_virtual_mta ip-1\n", "")
    server.write_config(text)
    assert server.run("greenarrow_config", "reload").returncode == 0
    server.submit()
    sink.wait_messages(2)
    assert [c["outmtaid"] for c in saved(server, 2)] == ["2", "3"] and len(sink.sessions) == 2


@pytest.mark.parametrize("end", [Close(), Reset(), "421 4.3.2 shutting down", ["421 4.3.2 too many", Close()]], ids=["closed", "reset", "421", "421 and closed"])
def test_a_saved_connection_found_closed_is_replaced_without_an_attempt_being_counted(greenarrow, sinks, end):
    sink = sinks({"MAIL": Each(Default(), end, Default())})
    server = greenarrow(route=sink, retry="retry_schedule 1h", everywhere=f"reuse_connections yes\n{TIMES}")
    server.submit()
    sink.wait_messages(1)
    saved(server)
    server.submit()
    sink.wait_messages(2)
    server.wait_empty()
    counts = server.queue()
    assert (counts["success_total"], counts["deferral_total"]) == (2, 0)
    assert len(sink.sessions) == 2 and len(sink.messages) == 2


def test_a_saved_connection_that_the_receiver_closes_is_forgotten_at_once(greenarrow, sinks):
    sink = sinks({"EOD": ["250 2.0.0 kept", Close()]})
    server = greenarrow(route=sink, retry="retry_schedule 1h", everywhere=f"reuse_connections yes\n{TIMES}")
    server.submit()
    sink.wait_messages(1)
    wait_connections(server, lambda found: not found)
    server.submit()
    sink.wait_messages(2)
    server.wait_empty()
    assert server.queue()["deferral_total"] == 0


def test_an_idle_connection_quits_when_its_time_is_over(greenarrow, sink):
    server = greenarrow(route=sink, everywhere="reuse_connections yes\nreuse_connections_timeout 1s")
    server.submit()
    sink.wait_messages(1)
    sink.wait_idle(10)
    session = sink.sessions[0]
    assert session.verbs()[-1] == "QUIT" and session.ended == "sink closed", "221 was waited for"
    assert 0.8 <= session.closed - sink.messages[0].at <= 3
    wait_connections(server, lambda found: not found)


@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelining", "one by one"])
@pytest.mark.parametrize("failing", ["RCPT", "DATA", "MAIL"])
def test_rset_comes_before_the_next_transaction_where_one_was_left_open(greenarrow, sinks, failing, pipelining):
    def rcpt(session, line):
        return Default() if session.sender is not None else "503 5.5.1 MAIL first"
    sink = sinks({"RCPT": rcpt, failing: Each("550 5.1.1 no", Default())}, extensions=["PIPELINING"] if pipelining else [])
    server = greenarrow(route=sink, everywhere=f"reuse_connections yes\n{TIMES}")
    server.submit()
    server.wait_queue(failure_total=1)
    saved(server)
    server.submit()
    sink.wait_messages(1)
    verbs = sink.sessions[0].verbs()
    assert len(sink.sessions) == 1
    again = verbs.index("MAIL", 2)
    if failing != "MAIL":
        assert verbs[again - 1] == "RSET"
    elif not pipelining:
        assert "RSET" not in verbs, "no transaction was begun"
    assert verbs[again:] == ["MAIL", "RCPT", "DATA"]


@pytest.mark.slow
def test_1000_messages_by_connections_of_100_are_10_connections_and_10_handshakes(greenarrow, sinks, certificate):
    handshakes = []

    def started(session, line):
        handshakes.append(session)
        return Default()

    sink = sinks({"STARTTLS": started}, certificate=certificate)
    server = greenarrow(route=sink, everywhere="reuse_connections yes\nreuse_connections_max_messages 100\n" + TIMES,
                        ip="domain receiver.example {\n  max_concurrent_connections 1\n}\n")
    with server.client() as client:
        client.ehlo()
        for number in range(1000):
            client.envelope(recipients=[f"u{number}@receiver.example"])
            assert client.data(corpus.simple()).code == 250
    sink.wait_messages(1000, timeout=90)
    server.wait_empty()
    sink.wait_idle(10)
    assert [session.verbs().count("MAIL") for session in sink.sessions] == [100] * 10
    assert all(session.verbs()[-1] == "QUIT" and session.tls for session in sink.sessions) and len(handshakes) == 10
    assert len({message.recipients[0] for message in sink.messages}) == 1000 == len(sink.messages)
    assert sink.peak() == 1
