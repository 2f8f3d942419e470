"""Pauses by hand: `greenarrow pause`, `dump`, `resume` and `pauses`."""

import json
import time

import pytest

from gatest import corpus

HELD = 'ip_address ip-2 {\n  mta_id 3\n  smtp_source 127.0.0.3 mail2.test.example\n}\n'


def say(server, *words, code=0):
    done = server.run("greenarrow", *words)
    assert done.returncode == code, done.stderr
    return done


def pauses(server):
    return json.loads(say(server, "pauses", "--json").stdout)["pauses"]


def mail(send=None, mta=None):
    fields = b""
    if send:
        fields += b"X-GreenArrow-SendID: " + send.encode() + b"\r\n"
    if mta:
        fields += b"X-GreenArrow-MtaID: " + mta.encode() + b"\r\n"
    return fields + corpus.simple()


def test_a_send_is_held_until_it_is_resumed(greenarrow, sink):
    server = greenarrow(route=sink)
    say(server, "pause", "send", "spring", "--reason=complaints")
    for _ in range(4):
        server.submit(mail("spring"))
    server.submit(mail("summer"))
    server.wait_queue(paused=4, success_total=1)
    one, = pauses(server)
    assert (one["kind"], one["what"], one["reason"], one["until"]) == ("send", "spring", "complaints", "")
    assert one["since"] and one["who"]
    assert "complaints" in say(server, "pauses").stdout
    began = time.monotonic()
    say(server, "resume", "send", "spring")
    server.wait_queue(success_total=5, envelopes=0)
    assert time.monotonic() - began < 5
    assert pauses(server) == [] and server.queue()["deferral_total"] == 0


def test_what_waits_behind_a_limit_is_held_too(greenarrow, sink):
    server = greenarrow(route=sink, ip="max_delivery_rate 1/hr")
    for _ in range(6):
        server.submit(mail("spring"))
    server.wait_queue(success_total=1, in_flight=5)
    say(server, "pause", "send", "spring")
    server.wait_queue(paused=5, in_flight=0)
    say(server, "resume", "send", "spring")
    server.wait_queue(paused=0, in_flight=5)


@pytest.mark.parametrize("name", ["ip-2", "IP-2", "3"])
def test_a_virtual_mta_by_name_and_by_id(greenarrow, sink, name):
    server = greenarrow(route=sink, top=HELD)
    say(server, "pause", "virtual_mta", name)
    for _ in range(4):
        server.submit(mail(mta="ip-2"))
    server.submit()
    server.wait_queue(paused=4, success_total=1)
    say(server, "resume", "virtual_mta", name)
    server.wait_queue(success_total=5)


def test_a_virtual_mta_whose_mail_waits_behind_a_limit(greenarrow, sink):
    server = greenarrow(route=sink, everywhere="max_delivery_rate 1/hr", top=HELD)
    for _ in range(3):
        server.submit(mail(mta="ip-2"))
        server.submit()
    server.wait_queue(success_total=2, in_flight=4)
    say(server, "pause", "virtual_mta", "ip-2")
    server.wait_queue(paused=2, in_flight=2)


def test_an_unknown_virtual_mta_is_taken_and_warned_of(greenarrow, sink):
    server = greenarrow(route=sink)
    assert "warning" in say(server, "pause", "virtual_mta", "ip-9").stderr
    assert pauses(server)[0]["what"] == "ip-9"
    assert say(server, "pause", "virtual_mta", "ip-1").stderr == ""


def test_a_sender_is_deferred_for_a_while(greenarrow, sink):
    server = greenarrow(route=sink, retry="retry_schedule 1s")
    say(server, "pause", "sender", "Sender.Example", "--to=receiver.example", "--for=3s")
    one, = pauses(server)
    assert (one["what"], one["to"], one["percent"]) == ("sender.example", "receiver.example", 100) and one["until"]
    server.submit()
    server.submit(recipients=["a@other.example"])
    server.wait_queue(success_total=1)
    assert server.queue()["deferral_total"] >= 1
    server.wait_queue(success_total=2)
    end = time.monotonic() + 10
    while pauses(server) or server.queue()["pauses"]:
        assert time.monotonic() < end
        time.sleep(0.2)


def test_a_share_of_the_attempts(greenarrow, sink):
    server = greenarrow(route=sink, retry="retry_schedule 1h")
    say(server, "pause", "sender", "sender.example", "--to=receiver.example", "--percent=30%")
    for _ in range(10):
        server.submit(recipients=[f"r{i}@receiver.example" for i in range(20)])
    server.wait_queue(in_flight=0, ram=0)
    queue = server.queue()
    assert queue["deferral_total"] + queue["success_total"] == 200
    assert 30 <= queue["deferral_total"] <= 90     # 60 are expected; 4.6 standard deviations


def test_a_dump_throws_away_and_resume_ends_it(greenarrow, sink):
    server = greenarrow(route=sink, ip="max_delivery_rate 1/hr", bounce=True)
    for _ in range(3):
        server.submit(mail("spring"))
    server.wait_queue(success_total=1, in_flight=2)
    say(server, "dump", "send", "spring")
    server.wait_queue(discarded_total=2, envelopes=0)
    server.submit(mail("spring"))
    server.wait_queue(discarded_total=3, envelopes=0)
    say(server, "resume", "send", "spring")
    server.submit(mail("spring"))
    server.wait_queue(discarded_total=3, in_flight=1)


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_pauses_outlive_the_daemon(greenarrow, sink, end):
    server = greenarrow(route=sink)
    say(server, "pause", "send", "spring")
    say(server, "pause", "send", "summer")
    say(server, "pause", "virtual_mta", "3")
    say(server, "pause", "sender", "sender.example", "--to=x.example", "--for=1h")
    say(server, "resume", "send", "summer")
    for _ in range(4):
        server.submit(mail("spring"))
    server.wait_queue(paused=4)
    before = sorted(pauses(server), key=str)
    getattr(server, end)()
    server.start()
    server.wait_queue(paused=4)
    assert sorted(pauses(server), key=str) == before and len(before) == 3
    say(server, "resume", "send", "spring")
    server.wait_queue(success_total=4, envelopes=0)
    getattr(server, end)()
    server.start()
    assert len(pauses(server)) == 2


def test_what_is_not_paused_cannot_be_resumed(greenarrow, sink):
    server = greenarrow(route=sink)
    assert "not paused" in say(server, "resume", "send", "spring", code=1).stderr
    say(server, "pause", "sender", "a..b", "--to=x.example", code=1)
    say(server, "pause", "send", "x" * 256, code=1)


@pytest.mark.parametrize("words", [
    ("pause",), ("pause", "send"), ("pause", "everything", "x"), ("pause", "send", "a", "b"), ("pause", "sender", "a.example"),
    ("pause", "send", "x", "--to=y.example"), ("pause", "send", "x", "--for=soon"), ("pause", "send", "x", "--percent=3"),
    ("pause", "sender", "a.example", "--to=b.example", "--percent=101"), ("dump", "virtual_mta", "x"), ("resume", "dump", "x"),
    ("pauses", "x"),
])
def test_usage(greenarrow, words):
    assert "Try" in say(greenarrow(start=False), *words, code=2).stderr
