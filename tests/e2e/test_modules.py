"""A module of somebody else, built outside the tree against what is installed: every hook does what its header says.

The module is modules/every_hook.c; its directives say what the hooks answer, and a trace file gets a line a call.
"""

import os
import re
import socket
import struct
import subprocess
import time

import pytest

from gatest import arrivals, corpus, daemon, need, smtp
from gatest.badsink import Default, Each

SOURCE = corpus.SOURCE_ROOT / "tests/e2e/modules/every_hook.c"


@pytest.fixture(scope="session")
def module(tmp_path_factory):
    """every_hook.so, compiled as a user would: with nothing but the installed tree."""
    folder = tmp_path_factory.mktemp("module")
    os.chmod(folder, 0o755)
    library = folder / "every_hook.so"
    path = next(daemon.prefix().glob("lib*/**/pkgconfig"))
    flags = subprocess.run([need.program("pkg-config", "pkgconf"), "--cflags", "greenarrow"], capture_output=True, text=True, check=True,
                           env={**os.environ, "PKG_CONFIG_PATH": str(path)}).stdout.split()
    subprocess.run([need.program("cc", "gcc"), "-Wall", "-Wextra", "-Werror", "-O1", "-fPIC", "-shared", *flags, "-o", str(library), str(SOURCE)], check=True)
    os.chmod(library, 0o755)
    return library


class Hooked:
    """A daemon with the module; `trace` waits for lines of its trace."""

    def __init__(self, greenarrow, module, general="", **arguments):
        modules = [*daemon.present_modules(), module]
        self.server = greenarrow(start=False, modules=modules, general="every_hook_trace every_hook.trace\n" + general, **arguments)
        self.path = self.server.folder / "control" / "every_hook.trace"
        self.server.start()

    def lines(self, hook):
        text = self.path.read_text(errors="replace")
        return [line for line in text.splitlines() if line.split(" ")[0] == hook]

    def trace(self, hook, count=1, timeout=20):
        """The fields of the first COUNT lines of HOOK, each as a dict; a field without = is under its place."""
        end = time.monotonic() + timeout
        while len(found := self.lines(hook)) < count:
            assert time.monotonic() < end, f"{len(found)} of {count} lines of {hook}:\n{self.path.read_text()}\n{self.server.tail()}"
            time.sleep(0.05)
        return [dict(re.findall(r"(\w+)=((?:(?! \w+=).)*)", line)) for line in found]


@pytest.fixture
def hooked(greenarrow, module):
    return lambda **arguments: Hooked(greenarrow, module, **arguments)


# Inbound.

def test_hooks_of_a_session_see_it_in_order_and_share_its_memory(hooked, sink):
    one = hooked(route=sink)
    with one.server.client() as client:
        client.ehlo("client.example")
        client.envelope("a@sender.example", ["b@receiver.example", "c@receiver.example"], "BODY=8BITMIME SIZE=1000")
        assert client.data(corpus.simple()).code == 250
        assert client.cmd("QUIT").code == 221
    sink.wait_messages(1)
    end = one.trace("session_end", 2)[1]         # the first was the look whether the daemon answers
    assert one.trace("connect")[0]["service"] == "smtp" and one.trace("connect")[0]["peer"] == "127.0.0.1"
    assert one.trace("helo")[0] == {"call": "2", "name": "client.example", "esmtp": "1"}
    assert one.trace("mail")[0] == {"call": "3", "from": "a@sender.example", "params": "2"}
    assert [t["to"] for t in one.trace("rcpt", 2)] == ["b@receiver.example", "c@receiver.example"]
    assert one.trace("rcpt", 2)[0]["domain"] == "receiver.example" and one.trace("rcpt")[0]["relayed"] == "1"
    assert end["calls"] == "5", "one memory a session, kept from hook to hook"
    assert one.trace("txn_end")[0]["rcpts"] == "2" and len(one.lines("txn_end")) == 1 and len(one.lines("session_end")) == 2


def test_a_message_that_is_queued_is_told_with_its_id_and_size(hooked, sink):
    one = hooked(route=sink)
    wire = corpus.simple()
    reply = one.server.submit(wire)
    queued = one.trace("message_queued")[0]
    assert queued["sender"] == "a@sender.example" and queued["nrcpt"] == "1" and int(queued["size"]) > len(wire)
    assert queued["id"] in str(reply) and one.trace("queue_commit")[0]["id"] == queued["id"]


@pytest.mark.parametrize("hook,said", [("helo", "EHLO x"), ("mail", "MAIL FROM:<a@sender.example>"), ("rcpt", "RCPT TO:<b@receiver.example>")])
@pytest.mark.parametrize("verdict,code,enhanced", [("reject", 554, "5.7.1"), ("tempfail", 450, "4.7.1")])
def test_a_refusal_is_told_to_the_client_in_the_modules_words(hooked, sink, hook, said, verdict, code, enhanced):
    one = hooked(route=sink, service=f'every_hook_answer {hook} {verdict} {code} {enhanced} not from you "or anybody"')
    with one.server.client() as client:
        if hook != "helo":
            assert client.ehlo().code == 250
        if hook == "rcpt":
            assert client.cmd("MAIL FROM:<a@sender.example>").code == 250
        reply = client.cmd(said)
        assert (reply.code, reply.enhanced) == (code, enhanced) and "not from you or anybody" in str(reply), reply
        assert client.cmd("NOOP").code == 250


@pytest.mark.parametrize("verdict,code", [("reject", 554), ("tempfail", 421), ("close", 421)])
def test_a_refused_connection_gets_its_answer_instead_of_the_banner(hooked, sink, verdict, code):
    one = hooked(route=sink)
    one.server.change(service=f"every_hook_answer connect {verdict} {code} {code // 100}.7.1 go away")
    assert one.server.run("greenarrow_config", "reload").returncode == 0
    end = time.monotonic() + 10
    while True:
        with pytest.raises((AssertionError, smtp.Disconnected)):
            with one.server.client() as client:
                assert client.ehlo().code != 250
        with socket.create_connection(one.server.address, timeout=10) as raw:
            banner = raw.recv(1000)
        if banner.startswith(str(code).encode()):
            break
        assert time.monotonic() < end, banner
    assert b"go away" in banner


@pytest.mark.parametrize("hook", ["header", "body", "eom", "queue_commit"])
@pytest.mark.parametrize("verdict,code,enhanced", [("reject", 554, "5.6.0"), ("tempfail", 451, "4.6.0")])
def test_a_message_refused_at_its_end_is_refused_in_the_modules_words(hooked, sink, hook, verdict, code, enhanced):
    one = hooked(route=sink, service=f"every_hook_answer {hook} {verdict} {code} {enhanced} such content")
    reply = smtp.submit(one.server.address, corpus.simple())
    assert (reply.code, reply.enhanced) == (code, enhanced) and "such content" in str(reply)
    time.sleep(0.5)
    assert not sink.sessions and one.server.queue()["envelopes"] == 0


@pytest.mark.parametrize("hook", ["mail", "rcpt", "header", "eom", "queue_commit"])
def test_what_is_discarded_is_answered_with_250_and_goes_nowhere(hooked, sink, hook):
    one = hooked(route=sink, service=f"every_hook_answer {hook} discard")
    assert smtp.submit(one.server.address, corpus.simple()).code == 250
    time.sleep(0.5)
    assert not sink.sessions and one.server.queue()["envelopes"] == 0


@pytest.mark.parametrize("hook", ["header", "eom", "queue_commit"])
def test_what_is_held_is_kept_and_not_delivered(hooked, sink, hook):
    one = hooked(route=sink, service=f"every_hook_answer {hook} hold")
    assert smtp.submit(one.server.address, corpus.simple()).code == 250
    time.sleep(0.5)
    assert one.server.queue()["envelopes"] == 1 and not sink.sessions
    one.server.restart()
    time.sleep(0.5)
    assert one.server.queue()["envelopes"] == 1 and not sink.sessions, "also after a restart"


def test_a_recipient_that_would_be_refused_may_be_accepted(hooked, sink):
    one = hooked(route=sink, service="relay_from 192.0.2.0/24\nevery_hook_answer rcpt accept")
    one.server.submit()
    assert sink.wait_messages(1)[0].recipients == ["b@receiver.example"]
    assert one.trace("rcpt")[0]["relayed"] == "0"


def test_a_recipient_may_be_redirected(hooked, sink):
    one = hooked(route=sink, service="every_hook_redirect other@elsewhere.example")
    one.server.submit()
    assert sink.wait_messages(1)[0].recipients == ["other@elsewhere.example"]


def test_edits_of_header_and_body_arrive_and_nothing_else_changes(hooked, sink):
    one = hooked(route=sink, service='every_hook_drop X-Secret\nevery_hook_set Subject "another one"\nevery_hook_upper yes\nevery_hook_add eom X-Added "by eom"')
    wire = (b"Message-ID: <x@sender.example>\r\nX-Secret: yes\r\n of course\r\nSubject: the first\r\n folded\r\nX-Kept:  two blanks \r\n\r\n"
            b"some text\r\n.dot\r\n" + b"x" * 900 + b"\r\nlast line\r\n")
    one.server.submit(wire)
    arrived = sink.wait_messages(1)[0].wire
    expected = (b"X-Added: by eom\r\nMessage-ID: <x@sender.example>\r\nSubject: another one\r\nX-Kept:  two blanks \r\n\r\n"
                b"SOME TEXT\r\n.DOT\r\n" + b"X" * 900 + b"\r\nLAST LINE\r\n")
    arrivals.assert_same(arrived, expected)
    assert "X-Secret: yes" in "\n".join(one.lines("header"))


@pytest.mark.parametrize("name", ["01-plain", "08-leading-dots", "20-big"])
def test_a_message_that_is_looked_at_and_not_edited_arrives_unchanged(hooked, sink, name):
    one = hooked(route=sink)
    message = next((one for one in corpus.samples() if one.name.startswith(name)), corpus.samples()[0])
    one.server.submit(message.wire)
    arrivals.assert_same(sink.wait_messages(1)[0].wire, message.wire)


# Waiting.

def test_a_hook_that_thinks_stops_no_other_session_and_is_listed(hooked, sink):
    one = hooked(route=sink, general="workers 1", service="every_hook_answer mail reject 550 5.7.1 after some thought\nevery_hook_after 3s")
    with one.server.client() as client, one.server.client() as other:
        client.ehlo(), other.ehlo()
        client.send(b"MAIL FROM:<a@sender.example>\r\n")
        started = time.monotonic()
        time.sleep(0.3)
        assert other.cmd("NOOP").code == 250 and time.monotonic() - started < 2.5
        listed = one.server.run("greenarrow", "waits").stdout
        assert re.search(r"every_hook +mail +timer", listed), listed
        assert client.reply().code == 550
        assert time.monotonic() - started >= 2.5
    assert "nothing waits" in one.server.run("greenarrow", "waits").stdout


@pytest.mark.parametrize("hook", ["connect", "mail", "eom", "queue_commit"])
def test_a_hook_that_never_answers_is_ended_with_a_temporary_failure(hooked, sink, hook):
    one = hooked(route=sink)
    one.server.change(service=f"every_hook_answer {hook} never")
    assert one.server.run("greenarrow_config", "reload").returncode == 0
    time.sleep(0.3)
    if hook == "connect":
        with pytest.raises((AssertionError, smtp.Disconnected)):
            smtp.submit(one.server.address, corpus.simple())
    else:
        with one.server.client() as client:
            client.ehlo()
            reply = client.cmd("MAIL FROM:<a@sender.example>")
            if hook != "mail":
                client.cmd("RCPT TO:<b@receiver.example>")
                reply = client.data(corpus.simple())
            assert reply.code // 100 == 4, reply
            assert client.cmd("NOOP").code == 250
    assert one.trace("cancelled")
    assert not sink.sessions


def test_a_client_that_leaves_while_a_hook_thinks_ends_the_wait(hooked, sink):
    one = hooked(route=sink, service="every_hook_answer mail never")
    client = one.server.client()
    client.ehlo()
    client.send(b"MAIL FROM:<a@sender.example>\r\n")
    one.trace("mail")
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()              # a reset; a mere end of what it says could still be waiting for its reply
    assert one.trace("cancelled", timeout=1.5)[0]["why"] == "1"      # GA_WHY_PEER_GONE, before its own limit
    one.trace("session_end")


def test_beyond_max_waits_the_answer_comes_at_once(hooked, sink):
    one = hooked(route=sink, general="max_waits 1", service="every_hook_answer mail never")
    with one.server.client() as first, one.server.client() as second:
        first.ehlo(), second.ehlo()
        first.send(b"MAIL FROM:<a@sender.example>\r\n")
        one.trace("mail")
        started = time.monotonic()
        assert second.cmd("MAIL FROM:<b@sender.example>").code // 100 == 4
        assert time.monotonic() - started < 1.5
        assert first.reply().code // 100 == 4


def test_a_hook_that_fails_is_a_temporary_failure(hooked, sink):
    one = hooked(route=sink, service="every_hook_answer rcpt fail")
    with one.server.client() as client:
        client.ehlo()
        client.cmd("MAIL FROM:<a@sender.example>")
        assert client.cmd("RCPT TO:<b@receiver.example>").code // 100 == 4
    one.server.wait_log("fails, as it was told to")


@pytest.mark.parametrize("hook", ["connect", "mail", "eom", "queue_commit", "schedule", "route", "outgoing"])
def test_a_stop_does_not_wait_for_a_hook_longer_than_stop_timeout_and_frees_all(hooked, sinks, hook):
    """The daemon is held to a clean end by the fixture: exit code 0, no leak."""
    sink = sinks({"RCPT": "450 4.2.0 no"})
    answer = f"every_hook_answer {hook} never"
    inbound = hook in ("connect", "mail", "eom", "queue_commit")
    one = hooked(route=sink, general="stop_timeout 1s", retry="retry_schedule 1h", service=answer if inbound and hook != "connect" else "",
                 everywhere="" if inbound else answer)
    if hook == "connect":
        one.server.change(service=answer)
        assert one.server.run("greenarrow_config", "reload").returncode == 0
    client = one.server.client() if hook != "connect" else socket.create_connection(one.server.address)
    if hook != "connect":
        client.ehlo()
        client.send(b"MAIL FROM:<a@sender.example>\r\nRCPT TO:<b@receiver.example>\r\nDATA\r\n")
        time.sleep(0.3)
        client.send(corpus.stuffed(corpus.simple()))
    one.trace(hook)
    started = time.monotonic()
    one.server.stop()
    assert time.monotonic() - started < 10
    client.close()


# Outbound.

def test_an_attempt_is_told_with_all_that_is_known_of_it(hooked, sinks):
    sink = sinks({"RCPT": Each("450 4.2.1 come again", Default())})
    one = hooked(route=sink, retry="retry_schedule 1s")
    one.server.submit()
    sink.wait_messages(1)
    first, second = one.trace("attempt_done", 2)
    host, port = sink.address.rsplit(":", 1)
    assert (first["outcome"], first["code"], first["enhanced"], first["attempts"]) == ("deferred", "450", "4.2.1", "1")
    assert (second["outcome"], second["code"], second["attempts"]) == ("delivered", "250", "2")
    assert first["text"].endswith("come again")
    for one_ in (first, second):
        assert (one_["sender"], one_["recipient"], one_["domain"]) == ("a@sender.example", "b@receiver.example", "receiver.example")
        assert (one_["mx_ip"], one_["source_ip"], one_["vmta"]) == (host, "127.0.0.2", "ip-1")
        assert one_["note"] == "in eom", "what the message was marked with when it came"
    assert one.trace("schedule")[0]["attempts"] == "1" and one.trace("schedule")[0]["envelope"] == first["envelope"]


def test_connections_are_told_when_they_open_are_saved_reused_and_close(hooked, sink):
    one = hooked(route=sink, everywhere="reuse_connections yes\nreuse_connections_timeout 2s\ndomain receiver.example {\n  max_concurrent_connections 1\n}")
    one.server.submit()
    sink.wait_messages(1)
    one.trace("connection_saved")
    one.server.submit()
    sink.wait_messages(2)
    closed = one.trace("connection_closed")[0]
    opened, reused = one.trace("connection_opened")[0], one.trace("connection_reused")[0]
    assert opened["id"] == reused["id"] == closed["id"]
    assert opened["remote"] == sink.address and opened["local"] == "127.0.0.2" and opened["vmta"] == "ip-1"
    assert (opened["done"], reused["done"], closed["done"]) == ("0", "1", "2") and closed["reason"]
    assert len(one.lines("connection_opened")) == 1


def test_every_line_of_smtp_is_told_in_both_directions(hooked, sink):
    one = hooked(route=sink)
    one.server.submit()
    sink.wait_messages(1)
    one.trace("connection_closed")
    said = [line.removeprefix("line ") for line in one.lines("line")]
    for line in ("in< EHLO client.example", "in< MAIL FROM:<a@sender.example>", "in> 354 ", "out> EHLO mail1.test.example",
                 "out> RCPT TO:<b@receiver.example>", "out< 250 2.1.5 ok", "out> .", "out< 250 2.0.0 kept"):
        assert any(one_.startswith(line) for one_ in said), f"{line!r} is not in {said}"


def test_what_outgoing_adds_is_of_that_attempt_only(hooked, sinks):
    sink = sinks({"EOD": Each("451 4.3.0 not now", Default())})
    one = hooked(route=sink, retry="retry_schedule 1s", everywhere="every_hook_add outgoing X-Attempt this")
    wire = corpus.simple()
    one.server.submit(wire)
    sink.wait_messages(1)
    one.server.change(everywhere="")
    for attempt in sink.attempts:
        arrivals.assert_same(attempt.wire.replace(b"X-Attempt: this\r\n", b""), wire)
        assert attempt.wire.count(b"X-Attempt: this\r\n") == 1, "not twice at the second attempt"
    assert one.trace("outgoing", 2)[0]["note"] == "in eom"


def test_a_note_is_still_there_after_a_restart(hooked, sinks):
    sink = sinks({"RCPT": Each("450 4.2.0 no", Default())})
    one = hooked(route=sink, retry="retry_schedule 2s")
    one.server.submit()
    one.server.wait_queue(disk=1)
    one.server.restart()
    sink.wait_messages(1)
    assert one.trace("outgoing", 2)[1]["note"] == "in eom"


@pytest.mark.parametrize("verdict,outcome", [("tempfail", "deferral_total"), ("reject", "failure_total")])
@pytest.mark.parametrize("hook", ["route", "outgoing"])
def test_an_attempt_may_be_ended_before_it_is_made(hooked, sink, hook, verdict, outcome):
    one = hooked(route=sink, retry="retry_schedule 1h", everywhere=f"every_hook_answer {hook} {verdict} {5 if verdict == 'reject' else 4}50 {5 if verdict == 'reject' else 4}.7.1 says the module")
    one.server.submit()
    one.server.wait_queue(**{outcome: 1})
    one.server.wait_log("says the module")
    assert not sink.attempts


def test_another_virtual_mta_may_be_chosen_for_an_attempt(hooked, sink):
    one = hooked(route=sink, ip="every_hook_route ip-2\nevery_hook_answer route accept",
                 top="ip_address ip-2 {\n  mta_id 3\n  smtp_source 127.0.0.3 mail2.test.example\n}\n")
    one.server.submit()
    sink.wait_messages(1)
    assert sink.sessions[0].peer[0] == "127.0.0.3"
    assert one.trace("attempt_done")[0]["vmta"] == "ip-2"


def test_a_module_may_say_when_the_next_attempt_is(hooked, sinks):
    sink = sinks({"RCPT": Each("450 4.2.0 no", Default())})
    one = hooked(route=sink, retry="retry_schedule 1h", everywhere="every_hook_again 1500ms")
    one.server.submit()
    sink.wait_messages(1)
    assert sink.sessions[1].opened - sink.sessions[0].opened >= 1.3


def test_a_held_acquire_is_asked_again_and_what_was_granted_is_released(hooked, sink):
    one = hooked(route=sink, general="workers 1", everywhere="every_hook_answer acquire hold\nevery_hook_again 1500ms")
    started = time.monotonic()
    one.server.submit()
    sink.wait_messages(1)
    assert time.monotonic() - started >= 1.3
    verdicts = [t["verdict"] for t in one.trace("acquire", 2)]
    assert verdicts == ["5", "0"]
    assert one.trace("release")[0]["recipients"] == "1" and len(one.lines("release")) == 1


# Scopes, settings and life.

def test_settings_of_a_module_are_resolved_by_virtual_mta_and_domain(hooked, sink):
    one = hooked(route=sink, retry="retry_schedule 1h",
                 everywhere="every_hook_answer route tempfail 450 4.7.1 everywhere\ndomain refused.example {\n  every_hook_answer route reject 550 5.7.1 there\n}\n"
                            f"domain taken.example {{\n  every_hook_answer route pass\n  smtp_route {sink.address}\n}}")
    for domain in ("refused.example", "taken.example", "other.example"):
        one.server.submit(recipients=[f"b@{domain}"])
    one.server.wait_queue(success_total=1, failure_total=1, deferral_total=1)
    assert [m.recipients for m in sink.messages] == [["b@taken.example"]]


def test_use_module_switches_its_hooks_off_in_one_scope_only(hooked, sink):
    one = hooked(route=sink, service="use_module every_hook no", everywhere=f"domain quiet.example {{\n  use_module every_hook no\n  smtp_route {sink.address}\n}}")
    one.server.submit(recipients=["b@quiet.example"])
    one.server.submit(recipients=["b@receiver.example"])
    sink.wait_messages(2)
    done = one.trace("attempt_done")
    time.sleep(0.5)
    assert [d["domain"] for d in done] == ["receiver.example"] and len(one.lines("attempt_done")) == 1
    assert not one.lines("mail") and not one.lines("connect"), "the service has it off"


def test_mistakes_in_a_modules_settings_are_told_with_their_place(greenarrow, sink, module):
    server = greenarrow(start=False, route=sink, modules=[*daemon.present_modules(), module],
                        service="every_hook_answr mail reject\nevery_hook_after soon\nevery_hook_answer mail")
    done = server.run("greenarrow_config", "validate")
    assert done.returncode == 1
    lines = server.config.read_text().splitlines()
    for directive, cause in (("every_hook_answr", "every_hook_answer"), ("every_hook_after soon", "soon"), ("every_hook_answer mail", "2")):
        number = next(n for n, line in enumerate(lines, 1) if line.strip().startswith(directive))
        assert any(re.match(rf"\S*greenarrow\.conf:{number}:\d+: ", line) and cause in line for line in done.stderr.splitlines()), f"{directive}: {done.stderr}"


def test_a_modules_own_check_refuses_a_file(greenarrow, sink, module):
    server = greenarrow(start=False, route=sink, modules=[*daemon.present_modules(), module], general="every_hook_answer nonsense reject")
    done = server.run("greenarrow_config", "validate")
    assert done.returncode == 1 and "there is no hook nonsense" in done.stderr


def test_a_reload_makes_a_new_instance_that_takes_over_and_the_old_one_ends(hooked, sink):
    one = hooked(route=sink)
    with one.server.client() as before:
        before.ehlo()
        one.server.change(service="every_hook_answer mail reject 550 5.7.1 since the reload")
        assert one.server.run("greenarrow_config", "reload").returncode == 0
        assert len(one.trace("init", 2)) == 2 and one.trace("adopt")[0]["of"] == "1"
        with one.server.client() as after:
            after.ehlo()
            assert after.cmd("MAIL FROM:<a@sender.example>").code == 550
        # a session that was open ends as it began
        assert before.cmd("MAIL FROM:<a@sender.example>").code == 250
        assert before.cmd("RCPT TO:<b@receiver.example>").code == 250
        assert before.data(corpus.simple()).code == 250
    sink.wait_messages(1)
    one.trace("drain")
    one.trace("fini")


def test_an_instance_that_cannot_start_refuses_the_reload_and_the_old_one_stays(hooked, sink):
    one = hooked(route=sink)
    one.server.expect_log("cannot be opened|reload refused")
    one.server.change(general="every_hook_trace /no/such/folder/trace")
    done = one.server.run("greenarrow_config", "reload")
    assert done.returncode == 1 and "/no/such/folder/trace cannot be opened" in done.stderr
    one.server.submit()
    sink.wait_messages(1)
    one.trace("attempt_done")
