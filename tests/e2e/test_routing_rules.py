"""Source addresses follow the weights of a routing_rule, drawn anew or kept as its `randomization` says; judged by the receiver.

The judge is the chi-square test: a rule that draws as written fails once in a million runs, one whose weights are
five points off does not pass.
"""

import collections
import math

from gatest.badsink import Default

WEIGHTS = {"127.0.0.41": 70, "127.0.0.42": 20, "127.0.0.43": 10}
SHARES = {source: weight / 100 for source, weight in WEIGHTS.items()}


def probability(counts, shares):
    """Of counts that lie this far from SHARES, or farther; SHARES has an odd number of members."""
    total = sum(counts.values())
    half = sum((counts[key] - total * share) ** 2 / (total * share) for key, share in shares.items()) / 2
    return math.exp(-half) * sum(half ** k / math.factorial(k) for k in range((len(shares) - 1) // 2))


def assert_follows(seen, shares):
    counts = collections.Counter(seen)
    assert set(counts) <= set(shares)
    assert probability(counts, shares) > 1e-6, counts


def through_pool(greenarrow, sink, randomization):
    ways = "".join(f"ip_address way-{number} {{\n  smtp_source {source} out.test.example\n}}\n" for number, source in enumerate(WEIGHTS))
    shares = ", ".join(f"way-{number} {weight}" for number, weight in enumerate(WEIGHTS.values()))
    server = greenarrow(route=sink, start=False, everywhere="reuse_connections yes\nreuse_connections_max_messages 1000",
                        top=f"{ways}routing_rule pool {{\n  deliver_through {shares}\n  randomization {randomization}\n}}\n")
    server.write_config(server.config.read_text().replace("default_virtual_mta ip-1", "default_virtual_mta pool"))
    return server.start()


class Tries:
    """What a sink does at RCPT: notes from where each address was tried, and defers the first try where `deferred` says so."""

    def __init__(self, deferred=lambda address: False):
        self.deferred, self.sources = deferred, collections.defaultdict(list)

    def __call__(self, session, line):
        address = line[len(b"RCPT TO:<"):line.index(b">")].decode().lower()
        self.sources[address].append(session.peer[0])
        return "451 4.2.0 later" if len(self.sources[address]) == 1 and self.deferred(address) else Default()


def test_per_attempt_each_attempt_draws_anew(greenarrow, sinks):
    tries = Tries(deferred=lambda address: True)
    server = through_pool(greenarrow, sinks({"RCPT": tries}), "attempt")
    for part in range(2):
        server.submit(recipients=[f"u{part}.{number}@receiver.example" for number in range(1000)])
    server.wait_empty(60)
    pairs = {(first, second): SHARES[first] * SHARES[second] for first in SHARES for second in SHARES}
    assert len(tries.sources) == 2000
    assert_follows([tuple(sources) for sources in tries.sources.values()], pairs)


def test_per_message_all_attempts_of_a_message_leave_from_one_address(greenarrow, sinks):
    tries = Tries(deferred=lambda address: address.startswith("u7"))
    server = through_pool(greenarrow, sinks({"RCPT": tries}), "message")
    with server.client() as client:
        client.ehlo()
        for number in range(2000):
            client.envelope(recipients=[f"u{number}@one.example", f"u{number}@two.example"])
            assert client.data(b"Subject: one of many\r\n\r\n%d\r\n" % number).code == 250
    server.wait_empty(60)
    messages = collections.defaultdict(list)
    for address, sources in tries.sources.items():
        messages[address.split("@")[0]] += sources
    assert len(messages) == 2000 and len(messages["u7"]) == 4
    assert all(len(set(sources)) == 1 for sources in messages.values())
    assert_follows([sources[0] for sources in messages.values()], SHARES)


def test_per_address_all_mail_to_an_address_leaves_from_one_address(greenarrow, sinks):
    tries = Tries(deferred=lambda address: address.startswith("u7"))
    server = through_pool(greenarrow, sinks({"RCPT": tries}), "address")
    for name in ("u", "u", "U"):
        for part in range(2):
            server.submit(recipients=[f"{name}{number}@receiver.example" for number in range(1000 * part, 1000 * part + 1000)])
    server.wait_empty(60)
    assert len(tries.sources) == 2000 and len(tries.sources["u7@receiver.example"]) == 4
    assert all(len(set(sources)) == 1 and len(sources) >= 3 for sources in tries.sources.values())
    assert_follows([sources[0] for sources in tries.sources.values()], SHARES)
