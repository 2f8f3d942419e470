"""Mail that does not move, and `greenarrow explain`, which has to name the cause.

Each test makes one of the causes and asks for the address, the domain or the envelope.
"""

import json
import time

import pytest

from gatest import corpus
from gatest.badsink import Silence

RECIPIENT = "b@receiver.example"
SLOW = {"EOD": Silence()}
SOON = "stop_timeout 1s"     # what a silent receiver holds is given up at the end of the test


def explain(server, what=RECIPIENT, *arguments):
    done = server.run("greenarrow", "explain", "--json", *arguments, what)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def cause(server, wanted, what=RECIPIENT, timeout=15):
    """Wait until WANTED is the cause; its fact."""
    end = time.monotonic() + timeout
    while True:
        answer = explain(server, what)
        if answer.get("cause") == wanted:
            return next(fact for fact in answer["facts"] if fact["holds"])
        assert time.monotonic() < end, f"{wanted} is not named:\n{json.dumps(answer, indent=1)}\n{server.tail(2000)}"
        time.sleep(0.1)


def line_of(server, text):
    """FILE:LINE of a statement of the configuration."""
    for number, line in enumerate(server.config.read_text().splitlines(), 1):
        if line.strip() == text:
            return f"{server.config}:{number}"
    raise AssertionError(f"no line {text!r} in the configuration")


def test_mail_that_moves(greenarrow, sink):
    server = greenarrow(route=sink)
    answer = explain(server, "receiver.example")
    assert answer["moves"] and "cause" not in answer
    assert answer["envelopes"]["found"] == 0
    assert answer["virtual_mta"] == "ip-1" and answer["throttle_group_key"] == "2,receiver.example"
    text = server.run("greenarrow", "explain", "receiver.example").stdout
    assert "Nothing holds it." in text


def test_delivery_paused(greenarrow, sink):
    server = greenarrow(route=sink, ip="delivery_paused yes")
    server.submit()
    fact = cause(server, "delivery_paused")
    assert "ip-1" in fact["text"] and fact["where"] == line_of(server, "delivery_paused yes")


def test_a_paused_virtual_mta(greenarrow, sink):
    server = greenarrow(route=sink)
    assert server.run("greenarrow", "pause", "virtual_mta", "ip-1").returncode == 0
    server.submit()
    assert "ip-1" in cause(server, "pause_virtual_mta")["text"]


def test_a_paused_send(greenarrow, sink):
    server = greenarrow(route=sink)
    assert server.run("greenarrow", "pause", "send", "letter-7").returncode == 0
    server.submit(b"X-GreenArrow-SendID: letter-7\r\n" + corpus.simple())
    assert "letter-7" in cause(server, "pause_send")["text"]


def test_a_paused_sender_domain(greenarrow, sink):
    server = greenarrow(route=sink, retry="retry_schedule 1h")
    assert server.run("greenarrow", "pause", "sender", "sender.example", "--to=receiver.example", "--for=1h").returncode == 0
    server.submit()
    assert "sender.example" in cause(server, "pause_sender")["text"]


def test_connections_are_all_in_use(greenarrow, sinks):
    server = greenarrow(route=sinks(SLOW), general=SOON, ip="max_concurrent_connections 1")
    for _ in range(3):
        server.submit()
    fact = cause(server, "max_concurrent_connections")
    assert "1 of 1" in fact["text"] and fact["where"] == line_of(server, "max_concurrent_connections 1")
    answer = explain(server)
    connection = next(fact for fact in answer["facts"] if fact["fact"] == "connection")
    assert "sending message (waiting)" in connection["text"]


def test_the_rate(greenarrow, sink):
    server = greenarrow(route=sink, ip="max_delivery_rate 2/hr")
    for _ in range(3):
        server.submit()
    fact = cause(server, "max_delivery_rate")
    assert "2/hr" in fact["text"] and fact["until"] and fact["where"] == line_of(server, "max_delivery_rate 2/hr")


def test_the_rate_of_connections(greenarrow, sink):
    server = greenarrow(route=sink, ip="max_connection_rate 1/hr", everywhere="reuse_connections no")
    for _ in range(3):
        server.submit()
    fact = cause(server, "max_connection_rate")
    assert "1/hr" in fact["text"] and fact["until"]


def test_the_limit_of_the_system(greenarrow, sinks):
    server = greenarrow(route=sinks(SLOW), general=f"system_max_smtp_connections 1\n{SOON}")
    server.submit(recipients=["a@other.example"])
    server.wait_queue(in_flight=1)
    server.submit()
    assert "1" in cause(server, "system_max_smtp_connections")["text"]


def test_backoff(greenarrow, sinks):
    sink = sinks({"RCPT": "451 4.7.1 slow down"})
    server = greenarrow(route=sink, retry="retry_schedule 1s", ip="throttle_program careful", top="""
        throttle_program careful {
          deferral_rate 30%
          minimum_sample 2
          window 1m
          backoff_max_delivery_rate 1/hr
          return_after 1h
        }
        """)
    for _ in range(6):
        server.submit()
    end = time.monotonic() + 20
    while True:
        answer = explain(server, "receiver.example")
        backoff = [fact for fact in answer["facts"] if fact["fact"] == "backoff"]
        if backoff:
            break
        assert time.monotonic() < end, json.dumps(answer, indent=1)
        time.sleep(0.2)
    assert "deferral_rate" in backoff[0]["text"] and backoff[0]["until"]


def test_a_deferral_that_waits_for_its_next_attempt(greenarrow, sinks):
    server = greenarrow(route=sinks({"RCPT": "451 4.7.1 greylisted"}), retry="retry_schedule 1h")
    server.submit()
    server.wait_queue(disk=1, in_flight=0)
    fact = cause(server, "retry")
    assert fact["until"]
    answer = explain(server)
    assert any("greylisted" in fact["text"] for fact in answer["facts"])


def test_nobody_answers(greenarrow, sinks):
    server = greenarrow(route=sinks(listening=False), retry="retry_schedule 1h")
    server.submit()
    server.wait_queue(disk=1, in_flight=0)
    cause(server, "retry")
    assert any("Connection refused" in fact["text"] for fact in explain(server)["facts"])


def test_dns_fails(greenarrow, dns):
    server = greenarrow(dns=dns({}, servfail=["receiver.example"]), retry="retry_schedule 1h")
    server.submit()
    server.wait_queue(disk=1, in_flight=0)
    answer = explain(server)
    dns_fact = next(fact for fact in answer["facts"] if fact["fact"] == "dns")
    assert dns_fact["holds"] and "receiver.example" in dns_fact["text"]


def test_tls_is_required_and_not_offered(greenarrow, sink):
    server = greenarrow(route=sink, ip="starttls_require yes", retry="retry_schedule 1h")
    server.submit()
    server.wait_queue(disk=1, in_flight=0)
    answer = explain(server)
    assert any("STARTTLS" in fact["text"] for fact in answer["facts"] if fact["fact"] in ("retry", "reply", "last_reply"))
    policy = next(fact for fact in answer["facts"] if fact["fact"] == "starttls_require")
    assert policy["where"] == line_of(server, "starttls_require yes")


def test_delivery_override(greenarrow, sink):
    server = greenarrow(route=sink, retry="retry_schedule 1h", top="""
        domain receiver.example {
          delivery_override defer
          delivery_override_text "not today"
        }
        """)
    server.submit()
    server.wait_queue(disk=1, in_flight=0)
    answer = explain(server)
    fact = next(fact for fact in answer["facts"] if fact["fact"] == "delivery_override")
    assert fact["holds"] and fact["where"] == line_of(server, "delivery_override defer") and "not today" in fact["text"]


def test_the_mail_hosts_are_on_the_blacklist(greenarrow, dns):
    server = greenarrow(dns=dns({"receiver.example": "MX 10 trap.example.", "trap.example": "A 127.0.0.9"}),
                        general="mx_blacklist trap.example")
    answer = explain(server, "receiver.example")
    assert answer["cause"] == "mx_blacklist", answer


def test_an_envelope_by_its_id(greenarrow, sinks):
    server = greenarrow(route=sinks({"RCPT": "451 4.7.1 later"}), retry="retry_schedule 1h")
    server.submit()
    server.wait_queue(disk=1, in_flight=0)
    envelope = server.wait_log(r"queue: ([0-9a-f]{16}) to receiver.example: deferral")[1]
    answer = explain(server, envelope)
    assert answer["cause"] == "retry" and answer["domain"] == "receiver.example"
    assert any(envelope in fact["text"] for fact in answer["facts"])


def test_another_virtual_mta(greenarrow, sink):
    server = greenarrow(route=sink, top="""
        ip_address ip-9 {
          mta_id 9
          delivery_paused yes
        }
        """)
    assert explain(server, "receiver.example", "--virtual-mta=ip-9")["cause"] == "delivery_paused"
    assert explain(server, "receiver.example")["moves"]


@pytest.mark.parametrize("what, message", [("0123456789abcdef", "no envelope"), ("a@@b", "address"), ("...", "domain"), ("a b", "domain")])
def test_what_cannot_be_explained(greenarrow, sink, what, message):
    server = greenarrow(route=sink)
    done = server.run("greenarrow", "explain", what)
    assert done.returncode == 1 and message in done.stderr


def test_usage(greenarrow, sink):
    server = greenarrow(route=sink)
    assert server.run("greenarrow", "explain").returncode == 2
    assert server.run("greenarrow", "explain", "a", "b").returncode == 2
