"""Rates hold: what a throttle group may try and open in a time, counted by the receiver; and who is in one group."""

import threading
import time

import pytest

from gatest import ports
from gatest.badsink import Default, Delay, Until
from test_outgoing_limits import submit_many
from test_throttle_reports import wait_throttles


def test_max_delivery_rate_is_kept_and_used(greenarrow, sinks):
    sink = sinks()
    server = greenarrow(everywhere=f"domain receiver.example {{\n  smtp_route {sink.address}\n  max_delivery_rate 600/min\n  max_delivery_burst 1\n}}\n")
    submit_many(server, 200)
    start, before = time.monotonic(), len(sink.messages)
    time.sleep(6)
    took, got = time.monotonic() - start, len(sink.messages) - before
    assert 9 * took - 2 <= got <= 10 * took + 2, f"{got} in {took:.2f} s, and 10/s are allowed"


def most_above(times, rate, burst):
    """By how many deliveries the worst window of all has more than RATE × its length + BURST."""
    worst = level = 0.0
    last = times[0]
    for now in times:
        level = max(level - (now - last) * rate, 0) + 1
        last, worst = now, max(worst, level - burst)
    return worst


@pytest.mark.alone
@pytest.mark.slow
def test_limits_are_kept_and_used_over_half_a_minute(greenarrow, sinks):
    """Three receivers on addresses of their own: a rate, a rate with a burst, and connections, all with mail waiting all the time.

    A burst of 1 would be too strict for this: what a busy machine is late for could not be made up.
    """
    even, bursty, narrow = (sinks({"EOD": [Delay(0.05), Default()]}, host=ports.free_address()) for _ in range(3))
    server = greenarrow(workers=2, everywhere="".join(
        f"domain {domain}.example {{\n  smtp_route {sink.address}\n  {limits}\n}}\n" for domain, sink, limits in (
            ("even", even, "max_delivery_rate 20/s"),
            ("bursty", bursty, "max_delivery_rate 1200/min\n  max_delivery_burst 10"),
            ("narrow", narrow, "max_concurrent_connections 4\n  reuse_connections yes\n  reuse_connections_max_messages 10000"))))
    for domain, count in (("narrow", 2400), ("even", 900), ("bursty", 900)):
        submit_many(server, count, f"{domain}.example")
    start = time.monotonic()
    time.sleep(30)
    end = time.monotonic()
    for sink, burst in ((even, 20), (bursty, 10)):
        times = [message.at for message in sink.messages]
        got = sum(start <= at < end for at in times)
        assert abs(got / (end - start) - 20) <= 0.6, f"{got} in {end - start:.2f} s"
        # what arrives has been under way for a moment, one longer than the other
        assert most_above(times, 20, burst) <= 2, most_above(times, 20, burst)
    assert narrow.peak() == 4


def test_domains_share_a_group_by_their_mx_host(greenarrow, dns, mx_hosts):
    """By the host's name and by a wildcard; a domain whose mail goes elsewhere has a group of its own."""
    seen = threading.Event()
    script = {"EOD": [Until(seen), Delay(0.1), Default()]}
    shared, other = mx_hosts(2, script)
    wild, = mx_hosts(1, script, more_hosts=[ports.free_address()])     # one sink: only it knows the order of what two addresses see
    at = {"one": "mx.shared.example", "two": "mx.shared.example", "three": "mx.shared.example", "four": "a.wild.example",
          "five": "b.wild.example", "six": "mx.other.example"}
    records = {f"{domain}.example": f"MX 10 {host}." for domain, host in at.items()}
    for host, address in (("mx.shared", shared.host), ("a.wild", wild.host), ("b.wild", *wild.more_hosts), ("mx.other", other.host)):
        records[f"{host}.example"] = f"A {address}"
    server = greenarrow(dns=dns(records), everywhere="""
        max_concurrent_connections 5
        domain mx:mx.shared.example {
          max_concurrent_connections 3
        }
        domain mx:*.wild.example {
          max_concurrent_connections 2
        }
        """)
    for domain in at:
        submit_many(server, 10, f"{domain}.example")
    wait_throttles(server, lambda found: sorted((g["domains"], g["connections"], g["queued_ram"]) for g in found) == [
        (["mx:*.wild.example"], 2, 18), (["mx:mx.shared.example"], 3, 27), (["six.example"], 5, 5)])
    seen.set()
    server.wait_empty(60)
    assert [sink.peak() for sink in (shared, wild, other)] == [3, 2, 5]
    assert [len(sink.messages) for sink in (shared, wild, other)] == [30, 20, 10]
