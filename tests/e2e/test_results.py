"""What each behaviour of a receiver leads to: delivered, deferred (kept, tried again) or failed; once, whatever it does.

The table plays one script a cell against one daemon; every cell has a receiver of its own, reached by its domain.
"""

import re
import time

import pytest

from gatest import corpus, daemon
from gatest.badsink import Body, Close, Default, Delay, Each, Lines, Reset, Silence, Split

DELIVERED, DEFERRED, FAILED = "delivered", "deferred", "failed"

# id, script, and what becomes of the mail
TABLE = []


def cell(name, script, outcome):
    TABLE.append(pytest.param(script, outcome, id=name))


for point in ("banner", "EHLO", "MAIL", "RCPT", "DATA", "EOD"):
    cell(f"{point}-closes", {point: Close()}, DEFERRED)
    cell(f"{point}-resets", {point: Reset()}, DEFERRED)
    cell(f"{point}-421", {point: ["421 4.3.2 going down", Close()]}, DEFERRED)
    cell(f"{point}-421-and-stays", {point: "421 4.3.2 going down"}, DEFERRED)
    cell(f"{point}-silent", {point: Silence()}, DEFERRED)
    cell(f"{point}-garbage", {point: "hello there"}, DEFERRED)
    cell(f"{point}-binary", {point: b"\x00\xff\x80\r\n"}, DEFERRED)
    cell(f"{point}-code-999", {point: "999 what"}, DEFERRED)
    cell(f"{point}-code-1xx", {point: "150 wait"}, DEFERRED)
    cell(f"{point}-half-a-line-then-close", {point: [b"250 o", Close()]}, DEFERRED)
    cell(f"{point}-mixed-codes-in-one-reply", {point: b"250-a\r\n550 b\r\n"}, DEFERRED)
    cell(f"{point}-endless-reply", {point: [b"250-x\r\n" * 30000, Close()]}, DEFERRED)
    cell(f"{point}-endless-line", {point: [b"250 " + b"x" * 300000, Close()]}, DEFERRED)

for point in ("MAIL", "RCPT", "DATA", "EOD"):
    for code in ("450 4.2.0 later", "451 4.7.1 greylisted", "452 4.2.2 full", "499 odd", "400 bare"):
        cell(f"{point}-{code.split()[0]}", {point: code}, DEFERRED)
    for code in ("550 5.1.1 no", "552 5.2.2 full for good", "553 bad name", "554 5.7.1 policy", "599 odd", "550", "550 2.0.0 class mismatch"):
        cell(f"{point}-{code.split()[0]}-{len(code)}", {point: code}, FAILED)
    cell(f"{point}-multi-line-5xx", {point: Lines(550, "5.1.1 no", "5.1.1 really", "5.1.1 not")}, FAILED)
    cell(f"{point}-multi-line-4xx", {point: Lines(450, "4.1.1 no", "4.1.1 not now")}, DEFERRED)
    cell(f"{point}-5xx-then-close", {point: ["550 5.1.1 no", Close()]}, FAILED)

for point in ("banner", "EHLO", "MAIL", "RCPT", "EOD"):
    code = 220 if point == "banner" else 250
    cell(f"{point}-split-octets", {point: Split(f"{code} fine")}, DELIVERED)
    cell(f"{point}-late", {point: [Delay(0.5), Default()]}, DELIVERED)
    cell(f"{point}-multi-line", {point: Lines(code, "one", "two", "three")}, DELIVERED)
    cell(f"{point}-without-text", {point: f"{code} "}, DELIVERED)
    cell(f"{point}-code-alone", {point: f"{code}"}, DELIVERED)
    cell(f"{point}-bare-lf", {point: f"{code} fine\n".encode()}, DELIVERED)
    cell(f"{point}-8-bit-text", {point: f"{code} gr\u00fc\u00dfe"}, DELIVERED)

cell("banner-4xx", {"banner": ["450 4.3.2 not now", Close()]}, DEFERRED)
cell("banner-5xx", {"banner": ["554 5.3.2 no service", Close()]}, DEFERRED)
cell("EHLO-4xx", {"EHLO": "451 4.3.0 not now"}, DEFERRED)
cell("EHLO-unknown-HELO-fine", {"EHLO": "502 5.5.1 unknown"}, DELIVERED)
cell("EHLO-500-HELO-fine", {"EHLO": "500 what"}, DELIVERED)
cell("EHLO-and-HELO-refused", {"EHLO": "502 no", "HELO": "550 no"}, DEFERRED)
cell("EHLO-odd-extensions", {"EHLO": Lines(250, "sink", "size", "X-" + "Y" * 400, "pipelining", "8bitMIME", "AUTH=LOGIN", "")}, DELIVERED)
cell("EHLO-size-not-a-number", {"EHLO": Lines(250, "sink", "SIZE many")}, DELIVERED)
cell("EHLO-size-zero", {"EHLO": Lines(250, "sink", "SIZE 0")}, DELIVERED)
cell("EHLO-size-huge", {"EHLO": Lines(250, "sink", "SIZE 99999999999999999999999")}, DELIVERED)
cell("EHLO-no-extensions", {"EHLO": "250 sink"}, DELIVERED)
cell("DATA-250", {"DATA": "250 fine"}, DEFERRED)
cell("DATA-354-split", {"DATA": Split("354 go")}, DELIVERED)
cell("DATA-354-multi-line", {"DATA": Lines(354, "go", "on")}, DELIVERED)
cell("DATA-354-late", {"DATA": [Delay(0.5), "354 go"]}, DELIVERED)
cell("body-closes", {"body": Body(1, Close())}, DEFERRED)
cell("body-resets", {"body": Body(1, Reset())}, DEFERRED)
cell("body-refused-early-then-closed", {"body": Body(1, ["554 5.6.0 enough", Close()])}, FAILED)
cell("EOD-354-again", {"EOD": "354 more"}, DEFERRED)
cell("QUIT-closes", {"QUIT": Close()}, DELIVERED)
cell("QUIT-resets", {"QUIT": Reset()}, DELIVERED)
cell("QUIT-silent", {"QUIT": Silence()}, DELIVERED)
cell("QUIT-4xx", {"QUIT": "451 no"}, DELIVERED)
cell("QUIT-5xx", {"QUIT": "554 no"}, DELIVERED)
cell("QUIT-garbage", {"QUIT": b"\0\1\2"}, DELIVERED)
cell("EOD-250-then-close", {"EOD": ["250 kept", Close()]}, DELIVERED)
cell("EOD-250-then-reset", {"EOD": ["250 kept", Delay(0.2), Reset()]}, DELIVERED)
cell("EOD-250-then-421", {"EOD": b"250 kept\r\n421 bye\r\n"}, DELIVERED)
cell("two-replies-to-EHLO", {"EHLO": b"250 sink\r\n250 sink\r\n"}, DEFERRED)
cell("two-replies-to-MAIL-no-pipelining", {"EHLO": "250 sink", "MAIL": b"250 a\r\n250 b\r\n"}, DEFERRED)
cell("two-replies-to-RCPT-no-pipelining", {"EHLO": "250 sink", "RCPT": b"250 a\r\n354 go\r\n"}, DEFERRED)
cell("two-banners", {"banner": b"220 a\r\n220 b\r\n"}, DEFERRED)

TIMEOUTS = """smtp_connect_timeout 2s
smtp_greeting_timeout 2s
smtp_tls_timeout 2s
smtp_command_timeout 2s
smtp_data_timeout 2s
smtp_data_block_timeout 2s
smtp_dot_timeout 2s
smtp_quit_timeout 500ms
max_connect_attempts 1
"""


def test_the_table_is_large_enough():
    assert len(TABLE) >= 150
    assert len({one.id for one in TABLE}) == len(TABLE)


@pytest.mark.parametrize("chunk", range(8))
def test_each_behaviour_of_a_receiver_has_exactly_one_outcome(greenarrow, sinks, chunk):
    """The cells of the table, an eighth at a time, all at once against one daemon."""
    cells = [one for number, one in enumerate(TABLE) if number % 8 == chunk]
    receivers = [sinks(one.values[0]) for one in cells]
    routes = "\n".join(f"domain c{n}.example {{\n  smtp_route {one.address}\n}}" for n, one in enumerate(receivers))
    server = greenarrow(everywhere=TIMEOUTS + routes, retry="retry_schedule 1h")
    for number in range(len(cells)):
        server.submit(recipients=[f"b@c{number}.example"])
    expected = {outcome: sum(one.values[1] == outcome for one in cells) for outcome in (DELIVERED, DEFERRED, FAILED)}
    end = time.monotonic() + 60
    while time.monotonic() < end:
        queue = server.queue()
        if queue["success_total"] + queue["deferral_total"] + queue["failure_total"] >= len(cells):
            break
        time.sleep(0.1)
    time.sleep(1)               # whatever is tried twice shows now
    problems, log = [], server.log_text()
    for number, (one, receiver) in enumerate(zip(cells, receivers)):
        taken, outcome = len(receiver.messages), one.values[1]
        if (taken == 1) is not (outcome == DELIVERED):
            problems.append(f"{one.id}: {outcome} expected, receiver took {taken}\n{receiver.dump(2)[-1500:]}")
        if len(receiver.attempts) > 1:
            problems.append(f"{one.id}: the message was sent {len(receiver.attempts)} times")
        said = re.findall(rf"to c{number}\.example: (\w+), attempt 1, vmta=ip-1 group=2,c{number}\.example: \S", log)
        if said != {DELIVERED: [], DEFERRED: ["deferral"], FAILED: ["failure"]}[outcome]:
            problems.append(f"{one.id}: {outcome} expected, the log says {said}")
    queue = server.queue()
    found = {DELIVERED: queue["success_total"], DEFERRED: queue["deferral_total"], FAILED: queue["failure_total"]}
    assert found == expected and not problems, f"{found} instead of {expected}; cells {[one.id for one in cells]}\n" + "\n".join(problems)


def test_each_recipient_has_a_result_of_its_own(greenarrow, sinks):
    sink = sinks({"RCPT 2": "550 5.1.1 no such user", "RCPT 3": Each("450 4.2.0 later", Default())})
    server = greenarrow(route=sink, retry="retry_schedule 1s")
    recipients = [f"u{i}@receiver.example" for i in range(5)]
    server.submit(recipients=recipients)
    server.wait_queue(failure_total=1, disk=0, ram=0)
    reached = sorted(r for m in sink.messages for r in m.recipients)
    assert len(reached) == 4 and len(set(reached)) == 4
    assert len(sink.messages[0].recipients) == 3 and len(sink.messages) == 2


def test_when_every_recipient_is_refused_no_message_is_sent(greenarrow, sinks):
    sink = sinks({"RCPT": "550 5.1.1 no", "DATA": "354 go anyway"})
    server = greenarrow(route=sink)
    server.submit(recipients=["a@receiver.example", "b@receiver.example"])
    server.wait_queue(failure_total=2)
    assert all(message.wire == b"" for message in sink.attempts)


def test_too_many_recipients_for_the_receiver_are_sent_in_further_transactions(greenarrow, sinks):
    sink = sinks({"RCPT": lambda session, line: "452 4.5.3 too many" if session.rcpt_seen > 3 else "250 2.1.5 ok"})
    server = greenarrow(route=sink)
    recipients = [f"u{i}@receiver.example" for i in range(8)]
    server.submit(recipients=recipients)
    server.wait_empty()
    assert sorted(r for m in sink.messages for r in m.recipients) == sorted(recipients)
    assert server.queue()["deferral_total"] == 0


def test_a_deferred_message_is_tried_again_until_it_is_taken(greenarrow, sinks):
    sink = sinks({"RCPT": Each("450 4.2.0 no", "450 4.2.0 no", "450 4.2.0 no", Default())})
    server = greenarrow(route=sink, retry="retry_schedule 1s")
    server.submit()
    sink.wait_messages(1)
    queue = server.wait_empty()
    assert (queue["deferral_total"], queue["success_total"]) == (3, 1)


def test_the_retry_schedule_is_kept(greenarrow, sinks):
    sink = sinks({"RCPT": "450 4.2.0 no"})
    server = greenarrow(route=sink, retry="retry_schedule 1s, 2s, 4s")
    server.submit()
    sink.wait_sessions(4, timeout=30)
    times = [session.opened for session in sink.sessions[:4]]
    waits = [b - a for a, b in zip(times, times[1:])]
    for wait, planned in zip(waits, (1, 2, 4)):
        assert planned * 0.94 - 0.05 <= wait <= planned * 1.06 + 1.5, waits


def test_a_message_whose_time_is_over_fails_after_one_last_attempt(greenarrow, sinks):
    sink = sinks({"RCPT": "450 4.2.0 no"})
    server = greenarrow(route=sink, retry="retry_schedule 1s", general="queue_lifetime 3s")
    server.submit()
    queue = server.wait_queue(timeout=30, toolong_total=1)
    assert queue["deferral_total"] >= 1
    count = len(sink.sessions)
    time.sleep(2.5)
    assert len(sink.sessions) == count


def test_deferred_mail_survives_a_restart_and_goes_out_when_due(greenarrow, sinks):
    sink = sinks({"RCPT": Each("450 4.2.0 no", Default())})
    server = greenarrow(route=sink, retry="retry_schedule 3s")
    wire = corpus.simple()
    server.submit(wire)
    server.wait_queue(disk=1)
    server.restart()
    assert server.queue()["disk"] == 1
    sink.wait_messages(1)
    assert sink.sessions[1].opened - sink.sessions[0].opened >= 2.5
    assert sink.messages[0].wire.endswith(wire)
    server.wait_empty()
    server.restart()
    assert server.queue()["envelopes"] == 0
    time.sleep(0.5)
    assert len(sink.messages) == 1


def test_failed_mail_is_kept_and_marked(greenarrow, sinks):
    sink = sinks({"RCPT": "550 5.1.1 no such user"})
    server = greenarrow(route=sink, modules=[m for m in daemon.present_modules() if m != "bounce"])
    server.submit()
    server.wait_queue(failure_total=1, failed=1)
    server.restart()
    assert server.queue()["failed"] == 1
    assert len(sink.sessions) == 1


def test_a_reply_that_comes_late_is_never_taken_for_the_next_transaction(greenarrow, sinks):
    """The receiver answers the first message's end twice; the second message must not be believed delivered by that."""
    sink = sinks(scripts=[{"EOD": Each([b"250 kept\r\n", Delay(0.3), b"250 stray\r\n"], "451 4.3.0 no")}, {}])
    server = greenarrow(route=sink, everywhere="reuse_connections yes", retry="retry_schedule 1s")
    server.submit(corpus.simple(message_id="<one@sender.example>"))
    sink.wait_messages(1)
    server.submit(corpus.simple(message_id="<two@sender.example>"))
    server.wait_empty()
    assert sum(b"<one@sender.example>" in m.wire for m in sink.messages) == 1
    assert sum(b"<two@sender.example>" in m.wire for m in sink.messages) == 1


def test_no_octet_follows_quit_and_quit_is_not_pipelined_behind_the_dot(greenarrow, sinks):
    sink = sinks({"EOD": [Delay(0.5), Default()]})
    server = greenarrow(route=sink)
    server.submit()
    session = sink.wait_messages(1)[0].session
    sink.wait_idle()
    kept_at = next(at for at, direction, octets in session.transcript if octets.startswith(b"250 2.0.0 kept"))
    quit_at = [at for at, direction, octets in session.transcript if direction == "<" and b"QUIT\r\n" in octets]
    assert len(quit_at) == 1 and quit_at[0] >= kept_at
    assert session.received.endswith(b"QUIT\r\n")


def test_pipelining_is_used_only_where_it_is_offered(greenarrow, sinks):
    for extensions, pipelined in ((["PIPELINING"], True), ([], False)):
        sink = sinks(extensions=extensions)
        server = greenarrow(route=sink)
        server.submit(recipients=["a@receiver.example", "b@receiver.example"])
        session = sink.wait_messages(1)[0].session
        together = any(direction == "<" and octets.count(b"\r\n") > 1 and octets.startswith(b"MAIL") for _, direction, octets in session.transcript)
        assert together is pipelined


def test_connections_are_reused_up_to_their_limit(greenarrow, sink):
    server = greenarrow(route=sink, everywhere="reuse_connections yes\nreuse_connections_max_messages 4\ndomain receiver.example {\n  max_concurrent_connections 1\n}")
    for _ in range(12):
        server.submit()
    sink.wait_messages(12)
    server.wait_empty()
    per_session = [sum(m.session is s for m in sink.messages) for s in sink.sessions]
    assert max(per_session) == 4 and sum(per_session) == 12


def test_a_saved_connection_that_died_costs_no_attempt(greenarrow, sinks):
    sink = sinks(scripts=[{"EOD": ["250 kept", Delay(0.3), Close()]}, {}])
    server = greenarrow(route=sink, everywhere="reuse_connections yes", retry="retry_schedule 1h")
    server.submit()
    sink.wait_messages(1)
    time.sleep(1)
    server.submit()
    sink.wait_messages(2)
    assert server.wait_empty()["deferral_total"] == 0
