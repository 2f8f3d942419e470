"""`greenarrow close_connection`: after its transaction and by QUIT, or at once; nothing is lost and the graceful form sends nothing twice."""

import threading
import time

from gatest import corpus
from gatest.badsink import Default, Delay, Each, Silence
from test_remote_connections import connections, wait_connections, wait_phase


def close(server, *arguments):
    done = server.run("greenarrow", "close_connection", *arguments)
    assert done.returncode == 0 and not done.stderr, done
    return done.stdout


def test_the_transaction_in_flight_is_finished_before_quit(greenarrow, sinks):
    sink = sinks({"EOD": [Delay(1), Default()]})
    server = greenarrow(route=sink, everywhere="reuse_connections yes\nmax_concurrent_connections 1")
    server.submit()
    shown = wait_phase(server, "sending", "sending message (waiting)")
    server.submit()
    assert close(server, shown["id"]) == f"connection {shown['id']} closes after its transaction\n"
    sink.wait_messages(2)
    server.wait_empty()
    first = sink.sessions[0]
    assert first.verbs() == ["EHLO", "MAIL", "RCPT", "DATA", "QUIT"], "one transaction, though more mail waited and reuse is on"
    assert len(sink.sessions) == 2 and server.queue()["deferral_total"] == 0
    assert [c["id"] for c in wait_connections(server, lambda found: len(found) == 1)] == [shown["id"] + 1]


def test_a_saved_connection_quits_at_once(greenarrow, sink):
    server = greenarrow(route=sink, everywhere="reuse_connections yes")
    server.submit()
    sink.wait_messages(1)
    shown, = wait_connections(server, lambda found: [c["state"] for c in found] == ["saved_for_reuse"])
    assert close(server, shown["id"]) == f"connection {shown['id']} closes\n"
    sink.wait_idle(5)
    assert sink.sessions[0].verbs()[-1] == "QUIT" and connections(server) == []


def test_now_defers_what_has_no_reply_and_it_is_tried_again(greenarrow, sinks):
    sink = sinks({"EOD": Each(Silence(), Default())})
    server = greenarrow(route=sink, retry="retry_schedule 1s")
    server.submit()
    shown = wait_phase(server, "sending", "sending message (waiting)")
    assert close(server, "--now", shown["id"]) == f"connection {shown['id']} is closed\n"
    server.wait_log("deferral, attempt 1, .*the connection was closed by an operator")
    sink.wait_messages(1)
    server.wait_empty()
    assert sink.sessions[0].verbs() == ["EHLO", "MAIL", "RCPT", "DATA"] and server.queue()["deferral_total"] == 1


def test_now_ends_a_saved_connection_without_a_word(greenarrow, sink):
    server = greenarrow(route=sink, everywhere="reuse_connections yes")
    server.submit()
    sink.wait_messages(1)
    shown, = wait_connections(server, lambda found: [c["state"] for c in found] == ["saved_for_reuse"])
    close(server, shown["id"], "--now")
    sink.wait_idle(5)
    assert sink.sessions[0].verbs()[-1] == "DATA"


def test_what_is_no_connection_is_told_in_one_line(greenarrow, sink):
    server = greenarrow(route=sink)
    for arguments, code, words in ((["77"], 1, "no connection 77"), (["x"], 2, "`x` is not the id"), ([], 2, "one ID is needed"), (["0"], 2, "`0` is not the id"),
                                   (["1", "2"], 2, "one ID is needed")):
        done = server.run("greenarrow", "close_connection", *arguments)
        assert done.returncode == code and words in done.stderr and not done.stdout, (arguments, done)
        assert code == 2 or done.stderr.count("\n") == 1
    server.stop()
    done = server.run("greenarrow", "close_connection", "1")
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "not running" in done.stderr


def test_closing_all_the_time_loses_nothing_and_sends_nothing_twice(greenarrow, sinks):
    sink = sinks({"EOD": [Delay(0.01), Default()]})
    server = greenarrow(route=sink, retry="retry_schedule 1s", everywhere="reuse_connections yes\nmax_concurrent_connections 4")
    ended, closed = threading.Event(), []

    def keep_closing():
        while not ended.is_set():
            for one in connections(server):
                closed.append(server.control("close_connection", id=one["id"])["ok"])
            time.sleep(0.02)

    thread = threading.Thread(target=keep_closing)
    thread.start()
    with server.client() as client:
        client.ehlo()
        for number in range(300):
            client.envelope(recipients=[f"u{number}@receiver.example"])
            assert client.data(corpus.simple()).code == 250
    try:
        server.wait_empty(60)
    finally:
        ended.set()
        thread.join()
    assert sorted(m.recipients[0] for m in sink.messages) == sorted(f"u{number}@receiver.example" for number in range(300))
    assert closed.count(True) > 10 and server.queue()["deferral_total"] == 0
    assert all(session.verbs()[-1] == "QUIT" for session in sink.sessions if session.closed)
