"""250 after the data means: on stable storage. Shown with a disk that is slow, and with one that fails."""

import threading
import time

import pytest

from gatest import corpus, shim, smtp


@pytest.fixture
def disk():
    return shim.SyncShim()


def start(greenarrow, disk, **arguments):
    server = greenarrow(start=False, **arguments)
    server.extra_environment = disk.environment()
    return server.start()


@pytest.mark.parametrize("chunks", [False, True], ids=["DATA", "BDAT"])
def test_250_comes_only_after_the_sync_that_covers_the_message(greenarrow, sink, disk, chunks):
    server = start(greenarrow, disk, route=sink)
    disk.delay(1000)
    with server.client() as client:
        client.ehlo()
        client.envelope()
        if chunks:
            pieces = smtp.in_chunks(corpus.simple(), 50)
            client.send(b"".join(pieces))
            assert all("octets received" in client.reply().text for _ in pieces[1:])
        else:
            client.cmd("DATA")
            client.send(corpus.stuffed(corpus.simple()))
        sent = time.monotonic()
        assert client.silent(0.8), "an answer before the sync returned"
        assert client.reply().code == 250
        answered = time.monotonic()
    assert answered - sent >= 0.95
    covering = [end for begin, end, result in disk.calls() if begin >= sent - 0.2 and end <= answered and result == 0]
    assert covering, disk.calls()
    assert not [s for s in sink.sessions if s.opened < covering[0]], "delivery began before the message was safe"


def test_one_sync_covers_many_messages(greenarrow, sink, disk):
    server = start(greenarrow, disk, route=sink)
    disk.delay(200)
    before = len(disk.calls())
    threads = [threading.Thread(target=server.submit) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sink.wait_messages(40)
    accepted_within = len(disk.calls()) - before
    assert accepted_within < 40, f"{accepted_within} syncs for 40 messages and their results"


def taken(server, wire):
    """Whether the server takes it now; it may say 452 at MAIL while it has no segment that is good."""
    with server.client() as client:
        client.ehlo()
        reply = client.cmd("MAIL FROM:<a@sender.example>")
        if reply.code == 452:
            return False
        assert reply.code == 250 and client.cmd("RCPT TO:<b@receiver.example>").code == 250
        return client.data(wire).code == 250


def test_a_failed_sync_is_never_answered_with_250(greenarrow, sink, disk):
    server = start(greenarrow, disk, route=sink)
    server.expect_log(r".")
    server.submit(corpus.simple(message_id="<before@sender.example>"))
    sink.wait_messages(1)
    disk.fail(True)
    reply = smtp.submit_or_refusal(server.address, corpus.simple(message_id="<during@sender.example>"))
    assert (reply.code, reply.enhanced) in ((451, "4.3.0"), (452, "4.3.1")), reply
    disk.fail(False)
    end = time.monotonic() + 20
    while not taken(server, corpus.simple(message_id="<after@sender.example>")):
        assert time.monotonic() < end, "the server did not recover from a failed sync"
        time.sleep(0.2)
    sink.wait_for(lambda: any(b"<after@" in m.wire for m in sink.messages))
    server.restart()
    time.sleep(1)
    assert not [m for m in sink.messages if b"<during@" in m.wire], "a refused message was delivered"


def test_mail_is_not_acknowledged_when_the_daemon_dies_within_the_sync(greenarrow, sink, disk):
    server = start(greenarrow, disk, route=sink)
    disk.delay(3000)
    with server.client() as client:
        client.ehlo()
        client.envelope()
        client.cmd("DATA")
        client.send(corpus.stuffed(corpus.simple()))
        time.sleep(0.5)
        server.kill()
        with pytest.raises(smtp.Disconnected):
            raise AssertionError(f"answered {client.reply()}")
    disk.delay(0)
    server.start()
    server.submit(corpus.simple(message_id="<next@sender.example>"))
    sink.wait_for(lambda: any(b"<next@" in m.wire for m in sink.messages))
