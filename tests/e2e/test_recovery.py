"""Dynamic Delivery with `recovery gradual`: receivers with limits that they do not tell are used, and hardly ever defer."""

import time

import pytest

from gatest import ports
from gatest.badsink import Close, Default, Delay
from test_outgoing_limits import submit_many
from test_throttle_reports import wait_throttles


class HiddenRate:
    """What a sink does at RCPT: it takes so many a second, a second's worth at once, and defers the others."""

    def __init__(self, rate):
        self.rate, self.tokens, self.last = rate, rate, time.monotonic()
        self.taken, self.deferred = [], []

    def __call__(self, session, line):
        now = time.monotonic()
        self.tokens = min(self.tokens + (now - self.last) * self.rate, self.rate)
        self.last = now
        if self.tokens < 1:
            self.deferred.append(now)
            return "451 4.7.1 too fast"
        self.tokens -= 1
        self.taken.append(now)
        return Default()

    def used(self, start, end):
        return between(self.taken, start, end) / (self.rate * (end - start))


class HiddenConnections:
    """What a sink does at its banner: it serves so many connections at once and sends the others away."""

    def __init__(self, limit):
        self.limit, self.served, self.deferred = limit, [], []

    def __call__(self, session, line):
        if sum(not one.closed for one in self.served) >= self.limit:
            self.deferred.append(time.monotonic())
            return ["421 4.7.0 too many connections", Close()]
        self.served.append(session)
        return Default()

    def used(self, start, end):
        open_for = sum(max(0, min(one.closed or end, end) - max(one.opened, start)) for one in self.served)
        return open_for / (self.limit * (end - start))


def between(times, start, end):
    return sum(start <= at < end for at in times)


def come_to(limit, since):
    """LIMIT has been met on the way back, and what was too much taken back."""
    now = time.monotonic()
    return between(limit.deferred, since, now - 2) > 0 and not between(limit.deferred, now - 2, now)


PROGRAM = """
    throttle_program gentle {
      deferral_rate 30%
      window 5s
      minimum_sample 10
      return_after 3s
      backoff_max_delivery_rate 10%
      backoff_max_concurrent_connections 10%
      recovery gradual
      recovery_interval 1s
    }
    """
MEASURED = 25      # seconds


@pytest.mark.slow
@pytest.mark.alone
def test_hidden_limits_are_found_used_and_kept(greenarrow, sinks):
    """Of a rate and of connections: at least 90 % of each is used, and less than 2 % deferred, once the way back has come to it."""
    rate, connections = HiddenRate(40), HiddenConnections(4)
    fast = sinks({"RCPT": rate}, host=ports.free_address())
    narrow = sinks({"banner": connections, "EOD": [Delay(0.2), Default()]}, host=ports.free_address())
    server = greenarrow(retry="retry_schedule 5s", top=PROGRAM, everywhere=f"""
        reuse_connections yes
        reuse_connections_max_messages 20
        throttle_program gentle
        domain fast.example {{
          smtp_route {fast.address}
          max_delivery_rate 150/s
        }}
        domain narrow.example {{
          smtp_route {narrow.address}
          max_concurrent_connections 20
        }}
        """)
    for part in range(4):
        server.submit(recipients=[f"u{part}.{number}@fast.example" for number in range(1000)])
    submit_many(server, 1500, "narrow.example")
    wait_throttles(server, lambda found: [g["in_backoff"] for g in found] == [True, True])
    returning = time.monotonic() + 3
    fast.wait_for(lambda: all(come_to(limit, returning) for limit in (rate, connections)), timeout=60)
    start = time.monotonic()
    time.sleep(MEASURED)
    end = time.monotonic()
    for limit, delivered in ((rate, rate.taken), (connections, [message.at for message in narrow.messages])):
        deferred, taken = between(limit.deferred, start, end), between(delivered, start, end)
        figures = f"{limit.used(start, end):.1%} used, {deferred} of {deferred + taken} deferred"
        print(figures)
        assert limit.used(start, end) >= 0.9 and deferred < 0.02 * (deferred + taken), figures
    assert server.queue()["envelopes"] > 1000, "there was mail for both all the time"
