"""A full disk: new mail is told to come later, queued mail goes on, and all is well again when there is room; nobody restarts anything."""

import time

import pytest

from gatest import corpus, disk, smtp
from gatest.badsink import Default

DISK_MIB = 640


@pytest.fixture
def small_disk(tmp_path):
    """DISK_MIB MiB; the spool's segments are 64 MiB, and some of them are kept ready."""
    with disk.small(tmp_path / "disk", f"{DISK_MIB}m") as folder:
        yield folder


@pytest.fixture
def greenarrow(small_disk, greenarrow):
    """Daemons that are stopped before the disk is taken away."""
    return greenarrow


def disk_daemon(greenarrow, small_disk, sink, **arguments):
    server = greenarrow(start=False, route=sink, **arguments)
    queue = small_disk / "queue"
    queue.mkdir(mode=0o755)
    server.write_config(server.config.read_text().replace(f"queue_directory {server.folder}/queue", f"queue_directory {queue}"))
    server.expect_log(r"(?i)no (room|space)|full|ENOSPC")
    server.start()
    end = time.monotonic() + 20
    while smtp.submit_or_refusal(server.address, corpus.simple()).code != 250:
        assert time.monotonic() < end, "not even one message is taken"      # a segment has to be made first
        time.sleep(0.1)
    return server


def accept_until_full(server, wire, limit=2000):
    """Submit until a message is refused, at any of its commands; how many were accepted, and the refusal."""
    with server.client(timeout=60) as client:
        client.ehlo()
        for accepted in range(limit):
            for command in (f"MAIL FROM:<a@sender.example> SIZE={len(wire)}", "RCPT TO:<b@receiver.example>", "DATA"):
                if (reply := client.cmd(command)).code >= 400:
                    return accepted, reply
            client.send(corpus.stuffed(wire))
            reply = client.reply()
            if reply.code != 250:
                return accepted, reply
    raise AssertionError(f"{limit} messages of {len(wire)} octets were taken by a disk of {DISK_MIB} MiB")


@pytest.mark.slow
def test_a_full_disk_refuses_new_mail_delivers_the_queue_and_recovers_by_itself(greenarrow, sinks, small_disk):
    sink = sinks(listening=False)
    server = disk_daemon(greenarrow, small_disk, sink, retry="retry_schedule 2s")
    ballast = disk.fill(small_disk)
    wire = corpus.big_sample(1_000_000).wire
    accepted, refusal = accept_until_full(server, wire)
    assert (refusal.code, refusal.enhanced) == (452, "4.3.1"), refusal
    assert accepted > 0
    accepted += 1       # with the one of disk_daemon()
    sink.open()
    sink.wait_messages(accepted, timeout=60)
    server.wait_queue(envelopes=0, timeout=60)
    ballast.unlink()
    end = time.monotonic() + 20
    while (reply := smtp.submit_or_refusal(server.address, wire)).code != 250:
        assert time.monotonic() < end, f"still {reply} after there is room again"
        time.sleep(0.2)
    sink.wait_messages(accepted + 1)
    server.wait_empty()
    server.restart()
    time.sleep(0.5)
    assert len(sink.messages) == accepted + 1, "nothing is delivered twice after a restart"


@pytest.mark.slow
def test_what_fails_on_a_full_disk_is_told_once(greenarrow, sinks, small_disk):
    sink = sinks({"RCPT": lambda session, line: Default() if b"sender.example" in line else "550 5.1.1 no"}, listening=False)
    server = disk_daemon(greenarrow, small_disk, sink, retry="retry_schedule 2s", bounce=True)
    ballast = disk.fill(small_disk)
    failing = sum(accept_until_full(server, wire, 100_000)[0] for wire in (corpus.big_sample(1_000_000).wire, corpus.simple())) + 1
    sink.open()
    server.wait_queue(60, failure_total=failing)
    time.sleep(3)               # those that end make room for the next ones
    assert server.queue()["failed"] + len(sink.messages) >= failing
    ballast.unlink()
    sink.wait_messages(failing, timeout=60)
    server.wait_empty(60)
    assert len(sink.messages) == failing and not any(message.sender for message in sink.messages)


@pytest.mark.slow
def test_mail_accepted_on_a_full_disk_survives_kill_9(greenarrow, sinks, small_disk):
    sink = sinks(listening=False)
    server = disk_daemon(greenarrow, small_disk, sink, retry="retry_schedule 2s")
    disk.fill(small_disk)
    accepted = accept_until_full(server, corpus.big_sample(1_000_000).wire)[0] + 1
    server.kill()
    server.start()
    sink.open()
    sink.wait_messages(accepted, timeout=60)
    server.wait_queue(envelopes=0, timeout=60)
    assert len(sink.messages) == accepted
