"""Rates hold: what a throttle group may try and open in a time, counted by the receiver."""

import time

from test_outgoing_limits import submit_many


def test_max_delivery_rate_is_kept_and_used(greenarrow, sinks):
    sink = sinks()
    server = greenarrow(everywhere=f"domain receiver.example {{\n  smtp_route {sink.address}\n  max_delivery_rate 600/min\n  max_delivery_burst 1\n}}\n")
    submit_many(server, 200)
    start, before = time.monotonic(), len(sink.messages)
    time.sleep(6)
    took, got = time.monotonic() - start, len(sink.messages) - before
    assert 9 * took - 2 <= got <= 10 * took + 2, f"{got} in {took:.2f} s, and 10/s are allowed"
