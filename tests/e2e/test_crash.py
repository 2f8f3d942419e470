"""kill -9 under load: every message that got its 250 arrives; duplicates are no more than what was in flight.

GA_KILLS sets how often (5). Load and receiver are ga_smtp_source and ga_smtp_sink of tests/bench, which log the ids of the messages
that were acknowledged and that arrived.
"""

import collections
import os
import random
import time

import pytest

from gatest import bench, corpus, ports

KILLS = int(os.environ.get("GA_KILLS", "5"))
SESSIONS = 20
CONNECTIONS = 20


def ids(path):
    return path.read_text().split("\n")[:-1] if path.exists() else []


def empty_out(server):
    """Wait until the queue is empty, for as long as it gets shorter."""
    left, seen = server.queue()["envelopes"], time.monotonic()
    while left > 0:
        time.sleep(0.5)
        now = server.queue()["envelopes"]
        if now < left:
            left, seen = now, time.monotonic()
        assert time.monotonic() - seen < 60, f"{left} envelopes, and no fewer for a minute\n{server.tail()}"


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_by_kill_9_under_load(greenarrow, tmp_path):
    source, sink = bench.tool("ga_smtp_source"), bench.tool("ga_smtp_sink")
    port = ports.free_port()
    acked, arrived, unknown = tmp_path / "acked", tmp_path / "arrived", tmp_path / "unknown"
    receiver = bench.Tool(tmp_path, sink, f"--listen=127.0.0.1:{port}", f"--ids-log={arrived}")
    receiver.wait_for("ready")
    server = greenarrow(route=f"127.0.0.1:{port}", retry="retry_schedule 1s",
                        everywhere=f"reuse_connections yes\ndomain receiver.example {{\n  smtp_route 127.0.0.1:{port}\n  max_concurrent_connections {CONNECTIONS}\n}}")
    load = bench.Tool(tmp_path, source, f"--sessions={SESSIONS}", f"--duration={KILLS * 30}s", "--size=4096", f"--acked-log={acked}", f"--unknown-log={unknown}",
                "--to=u%n.%r@receiver.example", "--timeout=60s", f"127.0.0.1:{server.port}")
    try:
        for _ in range(KILLS):
            time.sleep(random.uniform(0.3, 2.0))
            server.kill()
            server.start(timeout=300)       # a sanitizer's build, and a queue that only grows
        time.sleep(1)
    finally:
        load.stop()
    empty_out(server)
    server.stop()
    receiver.stop()
    sent, lines = ids(acked), collections.Counter(ids(arrived))
    counted = {line.split()[0] for line in lines}
    lost = [one for one in sent if one not in counted]
    duplicates = sum(count - 1 for count in lines.values())
    print(f"{KILLS} kills: {len(sent)} acknowledged, {len(lost)} lost, {duplicates} duplicates, {len(counted - set(sent))} delivered without their 250 seen")
    assert len(sent) > KILLS * 20, f"too little load to mean anything: {len(sent)}"
    assert not lost, f"{len(lost)} of {len(sent)} acknowledged messages are lost: {lost[:5]}"
    assert duplicates <= KILLS * CONNECTIONS, f"{duplicates} duplicates, {KILLS} kills, at most {CONNECTIONS} in flight each"


def test_a_kill_right_after_the_250_loses_nothing(greenarrow, sinks):
    sink = sinks(listening=False)
    server = greenarrow(route=sink, retry="retry_schedule 1s")
    for number in range(8):
        server.submit(corpus.simple(message_id=f"<{number}@kill.example>"))
        server.kill()
        server.start()
    sink.open()
    sink.wait_messages(8, timeout=40)
    server.wait_empty()
    for number in range(8):
        assert sum(b"<%d@kill.example>" % number in m.wire for m in sink.messages) == 1


def test_a_kill_after_delivery_delivers_nothing_again(greenarrow, sink):
    server = greenarrow(route=sink)
    for _ in range(10):
        server.submit()
    server.wait_empty()
    server.kill()
    server.start()
    time.sleep(1)
    assert len(sink.messages) == 10 and server.queue()["envelopes"] == 0


def test_a_kill_while_the_receiver_thinks_repeats_at_most_what_was_in_flight(greenarrow, sinks):
    from gatest.badsink import Default, Delay, Each
    sink = sinks({"EOD": Each([Delay(2), Default()], Default())})
    server = greenarrow(route=sink, retry="retry_schedule 1s")
    server.submit()
    sink.wait_for(lambda: sink.attempts)
    server.kill()
    server.start()
    sink.wait_messages(1)
    server.wait_empty()
    assert len(sink.attempts) == 2


@pytest.mark.slow
def test_a_graceful_stop_under_load_loses_and_repeats_nothing(greenarrow, tmp_path):
    source, sink = bench.tool("ga_smtp_source"), bench.tool("ga_smtp_sink")
    port = ports.free_port()
    acked, arrived = tmp_path / "acked", tmp_path / "arrived"
    receiver = bench.Tool(tmp_path, sink, f"--listen=127.0.0.1:{port}", f"--ids-log={arrived}")
    receiver.wait_for("ready")
    server = greenarrow(route=f"127.0.0.1:{port}", retry="retry_schedule 1s")
    load = bench.Tool(tmp_path, source, "--sessions=10", "--duration=60s", "--size=4096", f"--acked-log={acked}", "--to=u%n.%r@receiver.example", f"127.0.0.1:{server.port}")
    try:
        for _ in range(3):
            time.sleep(1)
            server.restart()
    finally:
        load.stop()
    server.wait_empty(timeout=60)
    server.stop()
    receiver.stop()
    sent, lines = ids(acked), collections.Counter(ids(arrived))
    counted = {line.split()[0] for line in lines}
    assert sent and not [one for one in sent if one not in counted]
    assert sum(count - 1 for count in lines.values()) == 0
