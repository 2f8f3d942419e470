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

from gatest import arrivals, corpus, daemon, need, ports, smtp
from gatest.badsink import Close, Default, Delay, Each, Lines

SOURCE = corpus.SOURCE_ROOT / "tests/e2e/modules/every_hook.c"
WARNINGS = ("-std=c11", "-Wall", "-Wextra", "-Wshadow", "-Wstrict-prototypes", "-Wmissing-prototypes", "-Werror")


def compiled(library, source):
    """A module compiled as a user would: with nothing but the installed tree."""
    path = next(daemon.prefix().glob("lib*/**/pkgconfig"))
    flags = subprocess.run([need.program("pkg-config", "pkgconf"), "--cflags", "greenarrow"], capture_output=True, text=True, check=True,
                           env={**os.environ, "PKG_CONFIG_PATH": str(path)}).stdout.split()
    subprocess.run([need.program("cc", "gcc"), *WARNINGS, "-O1", "-fPIC", "-shared", *flags, "-o", str(library), str(source)], check=True)
    library.chmod(0o755)
    return library


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A folder that the daemon may read, whoever it runs as."""
    folder = tmp_path_factory.mktemp("module")
    folder.chmod(0o755)
    return folder


@pytest.fixture(scope="session")
def module(folder):
    return compiled(folder / "every_hook.so", SOURCE)


def another(folder, name, on_failure):
    source = folder / f"{name}.c"
    source.write_text(SOURCE.read_text().replace("every_hook", name).replace("EVERY_HOOK", name.upper())
                      .replace(".on_failure = GA_TEMPFAIL", f".on_failure = {on_failure}"))
    return compiled(folder / f"{name}.so", source)


@pytest.fixture(scope="session")
def other_module(folder):
    """A second author's: the same under another name, whose failures mean REJECT."""
    return another(folder, "other_hook", "GA_REJECT")


class Hooked:
    """A daemon with the module; `trace` waits for lines of its trace.

    `services`: further smtp_services, name -> settings; `address[name]` is where each listens.
    """

    def __init__(self, greenarrow, *modules, general="", services=None, top="", **arguments):
        self.address = {}
        for name, text in (services or {}).items():
            self.address[name] = ("127.0.0.1", ports.free_port())
            top += daemon.block(f"smtp_service {name}", f"listen 127.0.0.1:{self.address[name][1]}\n{text}")
        for one in modules:
            general += f"\n{one.stem}_trace {one.stem}.trace"
        self.server = greenarrow(start=False, modules=[*daemon.present_modules(), *modules], general=general, top=top, **arguments)
        self.path = self.server.folder / "control" / f"{modules[0].stem}.trace"
        self.server.start()

    def client(self, service=None):
        return smtp.Smtp(self.address[service]) if service else self.server.client()

    def submit(self, service, wire=None, **arguments):
        return smtp.submit(self.address[service], wire or corpus.simple(), **arguments)

    def reload(self, **arguments):
        self.server.change(**arguments)
        done = self.server.run("greenarrow_config", "reload")
        assert done.returncode == 0, done.stderr

    def lines(self, hook, path=None):
        text = (path or self.path).read_text(errors="replace")
        return [line for line in text.splitlines() if line.split(" ")[0] == hook]

    def trace(self, hook, count=1, timeout=20, of=None):
        """The fields of the first COUNT lines of HOOK (or more), each as a dict."""
        path = self.path.with_name(f"{of}.trace") if of else self.path
        end = time.monotonic() + timeout
        while len(found := self.lines(hook, path)) < count:
            assert time.monotonic() < end, f"{len(found)} of {count} lines of {hook}:\n{path.read_text()}\n{self.server.tail()}"
            time.sleep(0.05)
        return [dict(re.findall(r"(\w+)=((?:(?! \w+=).)*)", line)) for line in found]

    def only(self, sink, subject):
        """Sends one more message by the first service and sees that nothing but it arrives, then or before."""
        self.server.submit(corpus.simple(subject))
        sink.wait_messages(1)
        assert [subject.encode() in message.wire for message in sink.messages] == [True], sink.messages


@pytest.fixture
def hooked(greenarrow, module):
    return lambda **arguments: Hooked(greenarrow, module, **arguments)


@pytest.fixture
def both(greenarrow, module, other_module):
    """every_hook first, other_hook second."""
    return lambda **arguments: Hooked(greenarrow, module, other_module, **arguments)


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
    assert one.trace("connect")[0] == {"call": "1", "peer": "127.0.0.1", "local": "%s:%d" % one.server.address, "service": "smtp", "tls": "0"}
    assert one.trace("helo")[0] == {"call": "2", "name": "client.example", "esmtp": "1"}
    assert one.trace("mail")[0] == {"call": "3", "from": "a@sender.example", "params": "BODY:8BITMIME,SIZE:1000"}
    assert [t["to"] for t in one.trace("rcpt", 2)] == ["b@receiver.example", "c@receiver.example"]
    assert one.trace("rcpt", 2)[0]["domain"] == "receiver.example" and one.trace("rcpt")[0]["relayed"] == "1"
    assert end["calls"] == "5", "one memory a session, kept from hook to hook"
    assert one.trace("txn_end")[0]["rcpts"] == "2" and len(one.lines("txn_end")) == 1 and len(one.lines("session_end")) == 2


def test_each_session_and_each_transaction_ends_once_however_it_ends(hooked, sink):
    one = hooked(route=sink)
    with one.client() as client:
        client.ehlo()
        client.envelope()
        assert client.data(corpus.simple()).code == 250       # done
        client.envelope()
        client.cmd("RSET")                                    # aborted
        client.envelope()
        client.ehlo()                                         # aborted
        client.envelope()                                     # aborted: the client goes
    one.trace("session_end", 2)
    time.sleep(0.3)
    assert [t["end"] for t in one.trace("txn_end", 4)] == ["0", "1", "1", "1"]
    assert len(one.lines("session_end")) == 2


def test_tls_is_told_when_it_was_established(hooked, sink, certificate):
    one = hooked(route=sink, service=f"tls_certificate_files {certificate[0]}, {certificate[1]}")
    assert smtp.submit(one.server.address, corpus.simple(), tls=True).code == 250
    told = one.trace("tls")
    assert len(told) == 1 and told[0]["version"].startswith("TLS1.") and told[0]["cipher"] and told[0]["verified"] == "0"
    assert [t["call"] for t in one.trace("helo", 2)] == ["2", "4"] and told[0]["call"] == "3"


def test_a_message_that_is_queued_is_told_with_its_id_and_size(hooked, sink):
    one = hooked(route=sink)
    wire = corpus.simple()
    reply = one.server.submit(wire)
    queued = one.trace("message_queued")[0]
    assert queued["sender"] == "a@sender.example" and queued["nrcpt"] == "1" and int(queued["size"]) > len(wire)
    assert queued["id"] in str(reply) and one.trace("queue_commit")[0]["id"] == queued["id"]


REFUSALS = {"reject": (554, "5.7.13"), "tempfail": (450, "4.7.13")}
CONTENT = ("header", "body", "eom", "queue_commit")


def step(client, hook):
    """The reply to the command that HOOK is asked about."""
    if hook == "helo":
        return client.ehlo()
    assert client.ehlo().code == 250
    reply = client.cmd("MAIL FROM:<a@sender.example>")
    if hook != "mail":
        assert reply.code == 250, reply
        reply = client.cmd("RCPT TO:<b@receiver.example>")
    if hook not in ("mail", "rcpt"):
        assert reply.code == 250, reply
        reply = client.data(corpus.simple())
    return reply


def banner(address):
    with socket.create_connection(address, timeout=20) as raw:
        raw.shutdown(socket.SHUT_WR)        # or it would be waited for
        said = b""
        while more := raw.recv(1000):
            said += more
            if said.startswith(b"220"):
                break
    return said.decode()


def test_a_refusal_is_told_to_the_client_in_the_modules_words(hooked, sink):
    asked = [(hook, verdict) for hook in ("helo", "mail", "rcpt", *CONTENT) for verdict in REFUSALS]
    one = hooked(route=sink, services={f"{hook}-{verdict}": f'every_hook_answer {hook} {verdict} {REFUSALS[verdict][0]} {REFUSALS[verdict][1]} not from you "or anybody"'
                                       for hook, verdict in asked})
    for hook, verdict in asked:
        with one.client(f"{hook}-{verdict}") as client:
            reply = step(client, hook)
            assert (reply.code, reply.enhanced) == REFUSALS[verdict] and reply.text.endswith(" not from you or anybody"), (hook, reply)
            assert client.cmd("NOOP").code == 250, "the session goes on"
    one.only(sink, "the only one")
    assert one.server.queue()["accepted_total"] == 1


def test_a_refused_connection_gets_its_answer_instead_of_the_banner(hooked, sink):
    one = hooked(route=sink, services={"reject": "every_hook_answer connect reject 554 5.7.1 go away", "tempfail": "every_hook_answer connect tempfail 421 4.7.1 go away",
                                       "close": "every_hook_answer connect close 421 4.7.1 go away", "accept": "every_hook_answer connect accept"})
    assert banner(one.address["reject"]) == "554 5.7.1 go away\r\n"
    assert banner(one.address["tempfail"]) == banner(one.address["close"]) == "421 4.7.1 go away\r\n"
    assert banner(one.address["accept"]).startswith("220 ")


def test_a_module_that_closes_ends_the_session_with_its_words_or_421(hooked, sink):
    hooks = ("helo", "mail", "rcpt", "header", "body", "eom")
    one = hooked(route=sink, services={f"{hook}-{words}": f"every_hook_answer {hook} close {words.replace('-', ' ')}" for hook in hooks for words in ("", "421-4.3.2-enough")})
    for hook in hooks:
        for words in ("", "421-4.3.2-enough"):
            with one.client(f"{hook}-{words}") as client:
                reply = step(client, hook)
                assert reply.code == 421 and (not words or (reply.enhanced, reply.text) == ("4.3.2", "4.3.2 enough")), (hook, reply)
                client.sock.shutdown(socket.SHUT_WR)
                with pytest.raises(smtp.Disconnected):
                    client.reply()
    one.only(sink, "the only one")


def test_a_refusal_without_words_has_a_default_and_a_code_of_the_other_class_is_not_told(hooked, sink):
    one = hooked(route=sink, services={"none": "every_hook_answer mail reject", "wrong": "every_hook_answer mail reject 250 2.0.0 all is well",
                                       "later": "every_hook_answer eom tempfail"})
    with one.client("none") as client:
        assert step(client, "mail").code // 100 == 5
    with one.client("wrong") as client:
        reply = step(client, "mail")
        assert reply.code // 100 == 5 and reply.enhanced.startswith("5.")
    with one.client("later") as client:
        assert step(client, "eom").code // 100 == 4


def test_what_is_discarded_is_answered_with_250_and_goes_nowhere(hooked, sink):
    hooks = ("mail", "rcpt", *CONTENT)
    one = hooked(route=sink, services={hook: f"every_hook_answer {hook} discard" for hook in hooks})
    for hook in hooks:
        assert one.submit(hook).code == 250, hook
        assert one.submit(hook, corpus.simple(body="x" * 70 + "\r\n") + (b"y" * 70 + b"\r\n") * 5000).code == 250, hook
    one.only(sink, "the only one")
    assert one.server.queue()["accepted_total"] == 1


def test_a_recipient_that_is_discarded_leaves_the_others(hooked, sink):
    one = hooked(route=sink, service="every_hook_answer rcpt discard\nevery_hook_only gone@receiver.example")
    one.server.submit(recipients=["gone@receiver.example", "kept@receiver.example"])
    assert sink.wait_messages(1)[0].recipients == ["kept@receiver.example"]
    assert one.trace("message_queued")[0]["nrcpt"] == "1" and one.server.wait_queue(success_total=1)["envelopes"] == 0


def test_what_is_held_is_kept_and_not_delivered(hooked, sink):
    hooks = ("mail", "rcpt", *CONTENT)
    one = hooked(route=sink, services={hook: f"every_hook_answer {hook} hold" for hook in hooks})
    for hook in hooks:
        assert one.submit(hook).code == 250, hook
    one.only(sink, "the only one")
    assert one.server.wait_queue(success_total=1)["envelopes"] == len(hooks)
    one.server.restart()
    one.server.submit()
    sink.wait_messages(2)
    assert one.server.wait_queue(success_total=1)["envelopes"] == len(hooks), "also after a restart"


def test_an_answer_that_a_hook_does_not_know_is_a_failure_of_the_module(hooked, sink):
    wrong = {"connect": "discard", "helo": "hold", "header": "accept", "eom": "accept", "queue_commit": "close"}
    one = hooked(route=sink, services={hook: f"every_hook_answer {hook} {verdict}" for hook, verdict in wrong.items()})
    assert banner(one.address["connect"]).startswith("4")
    for hook in [hook for hook in wrong if hook != "connect"]:
        with one.client(hook) as client:
            assert step(client, hook).code // 100 == 4, hook
    for hook in wrong:
        one.server.wait_log(f"{hook}: . is no answer to this hook")
    one.only(sink, "the only one")


def test_accept_ends_the_question_and_pass_leaves_it_to_the_next_module(both, sink):
    hooks = ("helo", "mail", "rcpt", "queue_commit")
    one = both(route=sink, services={f"{hook}-{verdict}": f"every_hook_answer {hook} {verdict}\nother_hook_answer {hook} reject" for hook in hooks for verdict in ("accept", "pass")})
    for hook in hooks:
        with one.client(f"{hook}-accept") as client:
            assert step(client, hook).code == 250, hook
        with one.client(f"{hook}-pass") as client:
            assert step(client, hook).code // 100 == 5, hook


def test_what_a_failure_means_is_the_modules_to_say(both, sink):
    one = both(route=sink, services={"fails": "other_hook_answer mail fail", "late": "other_hook_answer mail never", "both": "every_hook_answer mail fail\nother_hook_answer mail fail"})
    for service, class_ in (("fails", 5), ("late", 5), ("both", 4)):
        with one.client(service) as client:
            assert step(client, "mail").code // 100 == class_, service


def test_a_module_whose_failure_does_not_matter_opens_no_relay(greenarrow, folder, sink):
    module = another(folder, "open_hook", "GA_ACCEPT")
    one = Hooked(greenarrow, module, route=sink, service="relay_from 192.0.2.0/24\nopen_hook_answer rcpt fail",
                 services={"ours": "open_hook_answer rcpt fail"})
    with one.client() as client:
        client.ehlo()
        client.cmd("MAIL FROM:<a@sender.example>")
        assert client.cmd("RCPT TO:<b@receiver.example>").code == 550
    with one.client("ours") as client:
        client.ehlo()
        client.cmd("MAIL FROM:<a@sender.example>")
        assert client.cmd("RCPT TO:<b@receiver.example>").code == 250


def test_a_recipient_that_would_be_refused_may_be_accepted(hooked, sink):
    one = hooked(route=sink, service="relay_from 192.0.2.0/24\nevery_hook_answer rcpt accept")
    one.server.submit()
    assert sink.wait_messages(1)[0].recipients == ["b@receiver.example"]
    assert one.trace("rcpt")[0]["relayed"] == "0"


def test_a_recipient_may_be_redirected(hooked, sink):
    one = hooked(route=sink, service="every_hook_redirect other@elsewhere.example")
    one.server.submit()
    assert sink.wait_messages(1)[0].recipients == ["other@elsewhere.example"]


EDITED = (b"Message-ID: <x@sender.example>\r\nX-Secret: yes\r\n of course\r\nSubject: the first\r\n\tfolded\r\nX-Kept:  two blanks \r\n\r\n"
          b"some text\r\n.dot\r\n" + b"x" * 900 + b"\r\nlast line\r\n")


def test_edits_of_header_and_body_arrive_and_nothing_else_changes(hooked, sink):
    one = hooked(route=sink, service='every_hook_edit header drop X-Secret\nevery_hook_edit header set Subject "another one"\nevery_hook_edit body upper\n'
                                     'every_hook_edit eom add X-Added "by eom"')
    one.server.submit(EDITED)
    arrivals.assert_same(sink.wait_messages(1)[0].wire, b"X-Added: by eom\r\nMessage-ID: <x@sender.example>\r\nSubject: another one\r\nX-Kept:  two blanks \r\n\r\n"
                         b"SOME TEXT\r\n.DOT\r\n" + b"X" * 900 + b"\r\nLAST LINE\r\n")


def test_a_header_field_is_shown_unfolded_and_its_folding_is_kept_when_nobody_edits_it(hooked, sink):
    one = hooked(route=sink)
    one.server.submit(EDITED)
    arrivals.assert_same(sink.wait_messages(1)[0].wire, EDITED)
    assert one.lines("header") == ["header 0 Message-ID: <x@sender.example>", "header 1 X-Secret: yes of course", "header 2 Subject: the first\tfolded",
                                   "header 3 X-Kept:  two blanks "]


def test_edits_in_eom_arrive_with_their_folding(hooked, sink):
    one = hooked(route=sink, service='every_hook_edit eom drop x-secret\nevery_hook_edit eom set SUBJECT "another\\r\\n one"\nevery_hook_edit eom text "new\\r\\n.text\\r\\n"')
    one.server.submit(EDITED)
    arrivals.assert_same(sink.wait_messages(1)[0].wire, b"Message-ID: <x@sender.example>\r\nSubject: another\r\n one\r\nX-Kept:  two blanks \r\n\r\nnew\r\n.text\r\n")


def test_each_module_sees_what_the_one_before_left(both, sink):
    one = both(route=sink, service='every_hook_edit header drop X-Secret\nevery_hook_edit header set Subject "from the first"\nevery_hook_edit body upper\nother_hook_edit eom add X-Other "by the second"')
    one.server.submit(EDITED)
    arrived = sink.wait_messages(1)[0].wire
    assert b"\r\nSubject: from the first\r\n" in arrived and arrived.endswith(b"\r\nLAST LINE\r\n") and b"X-Other: by the second" in arrived
    seen = one.lines("header", one.path.with_name("other_hook.trace"))
    assert "header 1 Subject: from the first" in seen and not any("X-Secret" in line for line in seen)
    assert one.trace("body", of="other_hook")[0]["begin"] == "SOME TEXT||.DOT||XXX"[:20]
    first, second = one.trace("eom")[0], one.trace("eom", of="other_hook")[0]
    assert first["size"] == first["read"] == second["size"] == second["read"]
    assert int(first["size"]) == len(EDITED) - len(b"X-Secret: yes\r\n of course\r\n") - len(b"the first\r\n\tfolded") + len(b"from the first"), "the size after the edits"


def test_a_module_cannot_put_a_bare_line_feed_into_a_message(hooked, sink):
    one = hooked(route=sink, services={"body": 'every_hook_edit body text "line\\nnext\\r\\n"', "text": 'every_hook_edit eom text "line\\nnext\\r\\n"',
                                       "field": 'every_hook_edit eom set Subject "one\\r\\nX-Injected: yes"'})
    assert one.submit("body").code // 100 == 4, "no message that could never be sent is accepted"
    one.server.wait_log("other line ends than CRLF")
    for service in ("text", "field"):
        assert one.submit(service).code == 250
    assert [line for line in one.lines("refused")] == ["refused eom text", "refused eom set"]
    for message in sink.wait_messages(2):
        assert b"\nnext" not in message.wire and b"X-Injected" not in message.wire


def test_a_body_is_shown_piece_by_piece_and_whole(hooked, sink):
    one = hooked(route=sink, service="every_hook_edit body upper", everywhere="every_hook_edit outgoing add X-Out yes")
    seen = 0
    for count, octets in enumerate((1000, 700_000), 1):
        wire = corpus.simple(body="".join(f"{n:08} {'x' * 60}\r\n" for n in range(octets // 71)))
        one.server.submit(wire)
        head, _, body = wire.partition(b"\r\n\r\n")
        arrivals.assert_same(sink.wait_messages(count)[-1].wire.replace(b"X-Out: yes\r\n", b"", 1), head + b"\r\n\r\n" + body.upper())
        pieces = one.trace("body")[seen:]
        seen += len(pieces)
        assert sum(int(piece["size"]) for piece in pieces) == len(body)
        assert [int(piece["offset"]) for piece in pieces] == [sum(int(piece["size"]) for piece in pieces[:n]) for n in range(len(pieces))]
        assert one.trace("eom", count)[-1]["size"] == str(len(wire))


def test_a_message_that_is_looked_at_and_not_edited_arrives_unchanged(hooked, sink):
    one = hooked(route=sink)
    samples = [sample for sample in corpus.samples() if sample.name.startswith(("01-plain", "08-leading-dots", "20-big"))] or corpus.samples()[:3]
    for count, sample in enumerate(samples, 1):
        one.server.submit(sample.wire)
        arrivals.assert_same(sink.wait_messages(count)[-1].wire, sample.wire)


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


def test_a_hook_that_never_answers_is_ended_with_a_temporary_failure(hooked, sink):
    hooks = ("connect", "helo", "mail", "rcpt", *CONTENT)
    one = hooked(route=sink, services={hook: f"every_hook_answer {hook} never" for hook in hooks})
    sessions, commands = {}, ["EHLO client.example", "MAIL FROM:<a@sender.example>", "RCPT TO:<b@receiver.example>", "DATA"]
    for n, hook in enumerate(hooks):                 # all at once: it takes two seconds
        client = sessions[hook] = smtp.Smtp(one.address[hook], read_banner=False)
        client.send("".join(command + "\r\n" for command in commands[:n]))
    for n, (hook, client) in enumerate(sessions.items()):
        codes = [client.reply().code for _ in range(min(n, len(commands)) + 1)]
        if hook in CONTENT:
            assert codes == [220, 250, 250, 250, 354]
            client.send(corpus.stuffed(corpus.simple()))
        else:
            assert codes[:-1] == [220, 250, 250][:n] and codes[-1] // 100 == 4, (hook, codes)
    for hook in CONTENT:
        assert sessions[hook].reply().code // 100 == 4, hook
        assert sessions[hook].cmd("NOOP").code == 250
    assert [t["why"] for t in one.trace("cancelled", len(hooks))] == ["0"] * len(hooks), "GA_WHY_TIMEOUT, once each"
    for client in sessions.values():
        client.close()
    one.only(sink, "the only one")


def by_domain(sink, text):
    """Domain blocks, one a hook: hook.example with TEXT, its HOOK filled in."""
    return "".join(daemon.block(f"domain {hook}.example", f"smtp_route {sink.address}\n" + text.replace("HOOK", hook)) for hook in ("route", "outgoing", "schedule"))


def test_a_hook_of_the_queue_that_never_answers_leaves_the_message_for_a_later_attempt(hooked, sinks):
    sink = sinks({"RCPT": Each("450 4.2.0 no", Default())})
    one = hooked(retry="retry_schedule 1s", everywhere=by_domain(sink, "every_hook_answer HOOK never"))
    one.server.submit(recipients=["b@schedule.example"])
    one.trace("schedule")                           # this one is deferred by the sink
    for hook in ("route", "outgoing"):
        one.server.submit(recipients=[f"b@{hook}.example"])
    one.trace("cancelled", 3)
    one.reload(everywhere=by_domain(sink, ""))
    one.server.wait_empty()
    assert sorted(message.recipients[0] for message in sink.messages) == ["b@outgoing.example", "b@route.example", "b@schedule.example"]


def test_a_hook_may_wait_for_a_timer_a_helper_thread_a_descriptor_and_dns(hooked, sink, dns):
    zone = dns({"question.example": ["A 127.0.0.9", "A 127.0.0.8"]})
    ways = ("timer", "work", "descriptor", "dns")
    one = hooked(dns=zone, route=sink, services={way: f"every_hook_answer mail reject 550 5.7.1 after a while\nevery_hook_wait {way}\nevery_hook_after 200ms\n"
                                                      "every_hook_question question.example" for way in ways})
    for way in ways:
        with one.client(way) as client:
            for _ in range(2):
                assert step(client, "mail").text == "5.7.1 after a while", way
    assert one.trace("dns", 2)[1] == {"rcode": "0", "addresses": "2"} and one.trace("descriptor", 2)[1] == {"events": "1"}
    assert not one.lines("cancelled")


def test_a_client_that_leaves_while_a_hook_thinks_ends_the_wait(hooked, sink):
    hooks = ("mail", "header", "eom")
    one = hooked(route=sink, general="every_hook_limit 1h", services={hook: f"every_hook_answer {hook} never" for hook in hooks})
    for count, hook in enumerate(hooks, 1):
        client = one.client(hook)
        client.ehlo()
        client.send("MAIL FROM:<a@sender.example>\r\n")
        if hook != "mail":
            assert client.reply().code == 250 and client.cmd("RCPT TO:<b@receiver.example>").code == 250 and client.cmd("DATA").code == 354
            client.send(corpus.stuffed(corpus.simple()))
        one.trace(hook)
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()              # a reset; a mere end of what it says could still be waiting for its reply
        assert one.trace("cancelled", count)[-1]["why"] == "1", "GA_WHY_PEER_GONE, before its own limit"
    one.trace("session_end", 4)
    assert [t["end"] for t in one.trace("txn_end", 2)] == ["1", "1"], "GA_END_ABORTED; at mail the module has no memory of a transaction yet"
    assert not sink.sessions


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


def test_a_stop_does_not_wait_for_hooks_longer_than_stop_timeout_and_frees_all(hooked, sinks):
    """The daemon is held to a clean end by the fixture: exit code 0, no leak."""
    sink = sinks({"RCPT": "450 4.2.0 no"})
    inbound, outbound = ("connect", "mail", "eom", "queue_commit"), ("route", "outgoing", "schedule")
    one = hooked(general="stop_timeout 1s\nevery_hook_limit 1h", retry="retry_schedule 1h", everywhere=by_domain(sink, "every_hook_answer HOOK never"),
                 services={hook: f"every_hook_answer {hook} never" for hook in inbound})
    one.server.submit(recipients=[f"b@{hook}.example" for hook in outbound])
    clients = [smtp.Smtp(one.address[hook], read_banner=False) for hook in inbound]
    for client in clients[1:]:
        client.send("EHLO client.example\r\nMAIL FROM:<a@sender.example>\r\nRCPT TO:<b@receiver.example>\r\nDATA\r\n")
    for client in clients[2:]:
        assert [client.reply().code for _ in range(5)][-1] == 354
        client.send(corpus.stuffed(corpus.simple()))
    end = time.monotonic() + 20
    while (waits := one.server.run("greenarrow", "waits").stdout).count("never comes") < 7:
        assert time.monotonic() < end, waits
        time.sleep(0.1)
    started = time.monotonic()
    one.server.stop()
    assert time.monotonic() - started < 20
    cancelled = [t["hook"] for t in one.trace("cancelled", 7)]
    assert set(cancelled) == {*inbound, *outbound}
    # an attempt that one loop hands back may begin again on a loop that has not heard of the stop yet
    assert all(cancelled.count(hook) == 1 for hook in set(cancelled) - {"outgoing"}), f"each once: {cancelled}"
    for client in clients:
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
    for done, connection in zip((first, second), one.trace("connection_opened", 2)):
        assert (done["sender"], done["recipient"], done["domain"]) == ("a@sender.example", "b@receiver.example", "receiver.example")
        assert (done["mx_ip"], done["source_ip"], done["vmta"], done["tls"]) == (host, "127.0.0.2", "ip-1", "0")
        assert done["connection"] == connection["id"] and done["group"] == connection["group"] != ""
        assert done["size"] == one.trace("message_queued")[0]["size"] and int(done["connect_ms"]) <= int(done["total_ms"]) < 20000
        assert done["note"] == "in eom", "what the message was marked with when it came"
    assert [t["code"] for t in one.trace("attempt_failed")] == ["450"], "of what did not deliver, and of nothing else"
    assert first["envelope"] == second["envelope"] and first["envelope"].startswith(one.trace("message_queued")[0]["id"])


AMENDED = {"accept": "success_total", "tempfail": "deferral_total", "reject": "failure_total", "pass": "failure_total", "fail": "failure_total", "never": "failure_total"}


@pytest.mark.parametrize("verdict", AMENDED)
def test_a_result_is_amended_before_it_goes_on_record(hooked, sinks, verdict):
    """Who fails, or tries to wait, has said nothing: the host's refusal stays."""
    sink = sinks({"RCPT": "550 5.1.1 nobody here"})
    one = hooked(route=sink, retry="retry_schedule 1h", everywhere=f"every_hook_answer result {verdict}")
    one.server.submit()
    one.server.wait_queue(**{AMENDED[verdict]: 1})
    asked, done = one.trace("result")[0], one.trace("attempt_done")[0]
    assert (asked["recipient"], asked["outcome"], asked["code"], asked["stage"]) == ("b@receiver.example", "2", "550", "6")
    assert asked["reply"] == "550 5.1.1 nobody here"
    assert done["outcome"] == {"success_total": "delivered", "deferral_total": "deferred", "failure_total": "failed"}[AMENDED[verdict]]
    assert (done["code"], done["text"]) == ("550", "550 5.1.1 nobody here")
    assert daemon.find(one.server.status(), "smtp_client")[AMENDED[verdict]] == 1


def test_words_of_a_module_go_on_record_instead_of_the_reply(hooked, sinks):
    sink = sinks({"EOD": "451 4.3.0 not now"})
    one = hooked(route=sink, everywhere="every_hook_answer result reject 550 5.7.1 we gave up")
    one.server.submit()
    one.server.wait_queue(failure_total=1)
    done = one.trace("attempt_done")[0]
    assert (done["outcome"], done["code"], done["enhanced"], done["text"]) == ("failed", "550", "5.7.1", "we gave up")


def test_the_next_attempt_is_proposed_with_all_that_is_known_of_the_envelope(hooked, sinks):
    sink = sinks({"RCPT": "450 4.2.1 come again"})
    one = hooked(route=sink, retry="retry_schedule 1s, 1h\nqueue_lifetime 2d")
    one.server.submit()
    one.server.wait_queue(deferral_total=1)
    one.server.restart()                # now it is in the spool only
    first, second = one.trace("schedule", 2)
    for asked, attempts, most in ((first, "1", 2000), (second, "2", 2 * 3600_000)):
        assert (asked["sender"], asked["recipient"], asked["domain"]) == ("a@sender.example", "b@receiver.example", "receiver.example")
        assert asked["envelope"] == one.trace("attempt_done")[0]["envelope"] and asked["attempts"] == attempts
        assert int(asked["next_in"]) <= most and asked["life"] == str(2 * 86400_000)


def test_a_deferral_without_a_connection_is_proposed_with_its_addresses_too(hooked, sink):
    one = hooked(route=sink, retry="retry_schedule 1h", everywhere="every_hook_answer route tempfail 450 4.7.1 not yet")
    one.server.submit()
    asked = one.trace("schedule")[0]
    assert (asked["sender"], asked["recipient"]) == ("a@sender.example", "b@receiver.example")


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
    for told in (opened, one.trace("connection_saved")[0], reused, closed):
        assert (told["remote"], told["local"], told["vmta"], told["domain"]) == (sink.address, "127.0.0.2", "ip-1", "receiver.example")
        assert told["group"] == one.trace("acquire")[0]["group"] and told["mx"] and told["tls"] == "0"
    assert (opened["done"], reused["done"], closed["done"]) == ("0", "1", "2") and closed["reason"]
    assert len(one.lines("connection_opened")) == 1


def test_tls_and_connections_that_fail_are_told_with_their_reasons(hooked, sinks, certificate):
    sink = sinks({"STARTTLS": Each(["220 go", Delay(0.3), b"not TLS at all\r\n", Close()], Default())}, certificate=certificate)
    one = hooked(route=f"127.0.0.1:{ports.free_port()}", retry="retry_schedule 1s")
    one.server.submit()
    failed = one.trace("connection_failed")[0]
    assert failed["reason"].endswith("Connection refused") and (failed["local"], failed["vmta"]) == ("127.0.0.2", "ip-1")
    one.reload(route=sink)
    sink.wait_messages(1)               # in clear
    one.server.submit()
    sink.wait_messages(2)
    wrong, right = one.trace("connection_tls", 2)
    assert wrong["reason"] and wrong["tls"] == "0" and (right["reason"], right["tls"]) == ("", "1")
    encrypted = one.trace("connection_encrypted", 2)[1]
    assert encrypted["version"].startswith("TLS1.") and encrypted["cipher"] and encrypted["verified"] == "0"
    assert one.trace("connection_closed", 2)[0]["reason"].startswith("TLS failed (")
    one.trace("connection_end", len(one.lines("connection_failed")) + 2)
    assert [t["calls"] for t in one.trace("connection_end")][-2:] == ["5", "3"], "two connections of one attempt share their memory"


def octets(one, kind, content=None):
    """What was told of one direction, put together; secrets as `-`."""
    told = [t for line in one.lines("bytes") if line.split()[1] == kind for t in [dict(re.findall(r"(\w+)=(\S*)", line))]]
    return b"".join(b"-" if t["hex"] == "-" else bytes.fromhex(t["hex"]) for t in told if content in (None, t["content"]))


def test_octets_are_told_as_they_crossed_but_credentials_apart(hooked, sinks):
    sink = sinks({"EHLO": Lines(250, "sink.example", "AUTH PLAIN", "SIZE 1000000"), "other": "235 2.7.0 welcome"})
    one = hooked(route=sink, everywhere="every_hook_octets yes\ndomain receiver.example {\n  destination_username someone\n  destination_password canary\n"
                 "  destination_auth_cleartext yes\n}", service="every_hook_octets yes")
    wire = corpus.simple()
    one.server.submit(wire)
    message = sink.wait_messages(1)[0]
    one.trace("connection_end")
    assert octets(one, "in<", "1") == wire + b".\r\n", "of what came in, the message"
    assert octets(one, "out>", "1") == message.wire + b".\r\n"
    sent, heard = octets(one, "out>"), octets(one, "out<")
    assert sent.startswith(b"EHLO mail1.test.example\r\nAUTH PLAIN -\r\nMAIL FROM:<a@sender.example>") and sent.endswith(b".\r\nQUIT\r\n")
    assert b"235 2.7.0 welcome\r\n" in heard and heard.count(b"\r\n") >= 9
    assert one.trace("connection_end")[0]["calls"] == "2"


def test_a_module_that_leaves_a_session_hears_no_more_of_it(both, sink):
    one = both(route=sink, service="every_hook_leave yes\nother_hook_octets yes")
    one.server.submit()
    sink.wait_messages(1)
    ended = one.trace("disconnect", 2, of="other_hook")[1]
    assert (ended["messages"], ended["reason"], ended["tls"]) == ("1", "quit", "0")
    assert one.trace("connect", 2) and not one.lines("helo") and not one.lines("mail") and not one.lines("disconnect")
    assert not [line for line in one.lines("line") if line.startswith("line in")]
    assert one.trace("mail", of="other_hook") and one.trace("session_end", 2)


def test_every_line_of_smtp_is_told_in_both_directions(hooked, sink):
    one = hooked(route=sink)
    one.server.submit()
    sink.wait_messages(1)
    one.trace("connection_closed")
    said = [line.removeprefix("line ") for line in one.lines("line")]
    for line in ("in< EHLO client.example", "in< MAIL FROM:<a@sender.example>", "in> 354 ", "out> EHLO mail1.test.example",
                 "out> RCPT TO:<b@receiver.example>", "out< 250 2.1.5 ok", "out> .", "out< 250 2.0.0 kept"):
        assert any(one_.startswith(line) for one_ in said), f"{line!r} is not in {said}"


def test_what_outgoing_edits_is_of_that_attempt_only(hooked, sinks):
    sink = sinks({"EOD": "451 4.3.0 not now"})
    one = hooked(route=sink, retry="retry_schedule 1s", everywhere='every_hook_edit outgoing add X-Attempt this\nevery_hook_edit outgoing drop X-Secret\n'
                 'every_hook_edit outgoing set Subject "of this attempt"\nevery_hook_edit outgoing text "other text\\r\\n"')
    one.server.submit(EDITED)
    sink.wait_for(lambda: len(sink.attempts) >= 2)
    one.reload(everywhere="")
    sink.wait_for(lambda: any(b"X-Attempt" not in attempt.wire for attempt in sink.attempts))
    first, again, last = sink.attempts[0], sink.attempts[1], sink.attempts[-1]
    assert again.wire == first.wire, "what is stored, edited once"
    ours = arrivals.below_ours(first.wire)
    assert first.wire.startswith(b"X-Attempt: this\r\nReceived: ")
    assert ours == b"Message-ID: <x@sender.example>\r\nSubject: of this attempt\r\nX-Kept:  two blanks \r\n\r\nother text\r\n"
    arrivals.assert_same(last.wire, EDITED)
    asked = one.trace("outgoing", 2)
    assert asked[0] == asked[1], "what is stored, both times"
    assert (asked[0]["id"], asked[0]["size"]) == (one.trace("message_queued")[0]["id"], one.trace("message_queued")[0]["size"])
    assert (asked[0]["sender"], asked[0]["recipient"], asked[0]["domain"], asked[0]["vmta"]) == ("a@sender.example", "b@receiver.example", "receiver.example", "ip-1")
    assert asked[0]["nrcpt"] == "1" and asked[0]["note"] == "in eom"


def test_a_note_is_still_there_after_a_restart(hooked, sinks):
    sink = sinks({"RCPT": Each("450 4.2.0 no", Default())})
    one = hooked(route=sink, retry="retry_schedule 2s")
    one.server.submit()
    one.server.wait_queue(disk=1)
    one.server.restart()
    sink.wait_messages(1)
    assert one.trace("outgoing", 2)[1]["note"] == one.trace("attempt_done", 2)[1]["note"] == "in eom"


def test_an_attempt_may_be_ended_before_it_is_made(hooked, sink):
    refusals = {"tempfail": "450 4.7.1", "reject": "550 5.7.1"}
    one = hooked(retry="retry_schedule 1h", everywhere="".join(
        daemon.block(f"domain {hook}-{verdict}.example", f"smtp_route {sink.address}\nevery_hook_answer {hook} {verdict} {words} says {hook}")
        for hook in ("route", "outgoing") for verdict, words in refusals.items()))
    one.server.submit(recipients=[f"b@{hook}-{verdict}.example" for hook in ("route", "outgoing") for verdict in refusals])
    one.server.wait_queue(deferral_total=2, failure_total=2)
    for hook in ("route", "outgoing"):
        one.server.wait_log(f"says {hook}", times=2)
    assert not sink.attempts


def test_another_virtual_mta_may_be_chosen_for_an_attempt(hooked, sink):
    one = hooked(route=sink, ip="every_hook_route ip-2\nevery_hook_answer route accept",
                 top="ip_address ip-2 {\n  mta_id 3\n  smtp_source 127.0.0.3 mail2.test.example\n}\n")
    one.server.submit()
    sink.wait_messages(1)
    assert sink.sessions[0].peer[0] == "127.0.0.3"
    assert one.trace("attempt_done")[0]["vmta"] == "ip-2"


def test_a_virtual_mta_that_does_not_exist_means_the_default_one_and_a_warning(hooked, sink):
    one = hooked(route=sink, ip="every_hook_route nowhere\nevery_hook_answer route accept")
    one.server.submit()
    sink.wait_messages(1)
    one.server.wait_log('unknown VirtualMTA "nowhere"')
    assert one.trace("attempt_done")[0]["vmta"] == "ip-1"


def test_a_module_may_say_when_the_next_attempt_is(hooked, sinks):
    sink = sinks({"RCPT": Each("450 4.2.0 no", Default())})
    one = hooked(route=sink, retry="retry_schedule 1h", everywhere="every_hook_again 1500ms")
    one.server.submit()
    sink.wait_messages(1)
    assert sink.sessions[1].opened - sink.sessions[0].opened >= 1.3


def test_an_envelope_that_is_held_at_its_deferral_has_one_more_attempt_when_its_life_ends(hooked, sinks):
    sink = sinks({"RCPT": "450 4.2.0 no"})
    one = hooked(route=sink, retry="retry_schedule 1s\nqueue_lifetime 4s", everywhere="every_hook_answer schedule hold")
    one.server.submit()
    one.server.wait_queue(toolong_total=1)
    assert len(sink.sessions) == 2 and sink.sessions[1].opened - sink.sessions[0].opened >= 2.5


def test_a_held_acquire_is_asked_again_and_what_was_granted_is_released(hooked, sink):
    one = hooked(route=sink, general="workers 1", everywhere="every_hook_answer acquire hold\nevery_hook_again 1500ms")
    started = time.monotonic()
    one.server.submit()
    sink.wait_messages(1)
    assert time.monotonic() - started >= 1.3
    verdicts = [t["verdict"] for t in one.trace("acquire", 2)]
    assert verdicts == ["5", "0"]
    assert one.trace("release")[0]["recipients"] == "1" and len(one.lines("release")) == 1


def test_what_one_module_granted_is_given_back_when_another_holds(both, sink):
    one = both(route=sink, general="workers 1", everywhere="other_hook_answer acquire hold\nother_hook_again 300ms")
    one.server.submit()
    sink.wait_messages(1)
    one.trace("release", 2)
    assert [t["verdict"] for t in one.trace("acquire", 2)] == ["0", "0"] and [t["verdict"] for t in one.trace("acquire", 2, of="other_hook")] == ["5", "0"]
    assert len(one.lines("release")) == 2 and len(one.trace("release", of="other_hook")) == 1


# Scopes, settings and life.

def test_settings_of_a_module_are_resolved_by_virtual_mta_and_domain(hooked, sink):
    one = hooked(route=sink, retry="retry_schedule 1h",
                 everywhere="every_hook_answer route tempfail 450 4.7.1 everywhere\ndomain refused.example {\n  every_hook_answer route reject 550 5.7.1 there\n}\n"
                            f"domain taken.example {{\n  every_hook_answer route pass\n  smtp_route {sink.address}\n}}")
    for domain in ("refused.example", "taken.example", "other.example"):
        one.server.submit(recipients=[f"b@{domain}"])
    one.server.wait_queue(success_total=1, failure_total=1, deferral_total=1)
    assert [m.recipients for m in sink.messages] == [["b@taken.example"]]


def test_settings_of_a_module_are_resolved_by_smtp_service(hooked, sink):
    one = hooked(route=sink, general="every_hook_answer mail reject 550 5.7.1 in general", services={"own": "every_hook_answer mail reject 551 5.7.2 of the service", "none": ""},
                 service="every_hook_answer mail accept")
    for service, text in (("own", "5.7.2 of the service"), ("none", "5.7.1 in general")):
        with one.client(service) as client:
            assert step(client, "mail").text == text
    one.only(sink, "the only one")


def test_use_module_switches_its_hooks_off_in_one_scope_only(hooked, sink):
    one = hooked(route=sink, service="use_module every_hook no", everywhere=f"domain quiet.example {{\n  use_module every_hook no\n  smtp_route {sink.address}\n}}")
    one.server.submit(recipients=["b@quiet.example"])
    one.server.submit(recipients=["b@receiver.example"])
    sink.wait_messages(2)
    done = one.trace("attempt_done")
    time.sleep(0.5)
    assert [d["domain"] for d in done] == ["receiver.example"] and len(one.lines("attempt_done")) == 1
    assert not one.lines("mail") and not one.lines("connect"), "the service has it off"


def loading(greenarrow, sink, *modules, **arguments):
    """What validate says to a configuration that loads these too: (exit code, stderr, lines of the configuration)."""
    server = greenarrow(start=False, route=sink, modules=[*daemon.present_modules(), *modules], **arguments)
    done = server.run("greenarrow_config", "validate")
    return done.returncode, done.stderr, server.config.read_text().splitlines()


def assert_placed(stderr, lines, directive, cause):
    number = next(n for n, line in enumerate(lines, 1) if line.strip().startswith(directive))
    assert any(re.match(rf"\S*greenarrow\.conf:{number}:\d+: ", line) and cause in line for line in stderr.splitlines()), f"{directive}: {stderr}"


def test_a_module_is_loaded_by_its_absolute_path(hooked, module):
    one = hooked()
    assert f"load_module {module}\n" in one.server.config.read_text() and module.is_absolute()
    assert len(one.trace("init")) == 1
    assert one.server.run("greenarrow_config", "validate").returncode == 0


def test_a_file_that_is_no_module_is_refused_where_it_is_named(greenarrow, sink, module, folder):
    text, library, open_to_all = folder / "text.so", folder / "library.so", folder / "open" / "every_hook.so"
    text.write_text("no library\n")
    (folder / "library.c").write_text("int nothing;\n")
    subprocess.run([need.program("cc", "gcc"), "-shared", "-fPIC", "-o", str(library), str(folder / "library.c")], check=True)
    open_to_all.parent.mkdir(exist_ok=True)
    open_to_all.write_bytes(module.read_bytes())
    open_to_all.chmod(0o777)
    for path in (text, library, open_to_all, folder / "missing.so"):
        code, stderr, lines = loading(greenarrow, sink, path)
        assert code == 1
        assert_placed(stderr, lines, f"load_module {path}", path.stem)


def test_mistakes_in_a_modules_settings_are_told_with_their_place(greenarrow, sink, module):
    code, stderr, lines = loading(greenarrow, sink, module, general="every_hook_wait for_godot",
                                  service="every_hook_answr mail reject\nevery_hook_after soon\nevery_hook_answer mail", everywhere="domain x.example {\n  every_hook_trace here\n}")
    assert code == 1
    for directive, cause in (("every_hook_answr", "every_hook_answer"), ("every_hook_after soon", "soon"), ("every_hook_answer mail", "2"), ("every_hook_wait", "for_godot"),
                             ("every_hook_trace", "every_hook_trace")):
        assert_placed(stderr, lines, directive, cause)


def test_a_modules_own_check_refuses_a_file_where_its_setting_is(greenarrow, sink, module):
    for answer, cause in (("nonsense reject", "there is no hook nonsense"), ("mail perhaps", "there is no verdict perhaps")):
        code, stderr, lines = loading(greenarrow, sink, module, general=f"every_hook_answer {answer}")
        assert code == 1
        assert_placed(stderr, lines, "every_hook_answer", cause)


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


# Logins.

def scram_keys(password):
    import hashlib
    import hmac
    from base64 import b64encode
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), b"some salt", 4096)
    client, server = (hmac.new(salted, label, "sha256").digest() for label in (b"Client Key", b"Server Key"))
    return "{SCRAM-SHA-256}4096," + ",".join(b64encode(part).decode() for part in (b"some salt", hashlib.sha256(client).digest(), server))


def test_modules_are_asked_who_may_log_in(hooked, sink):
    from base64 import b64encode
    verdicts = {"pass": (235, 535), "accept": (235, 235), "reject": (535, 535), "tempfail": (454, 454), "close": (421, 421)}
    base = "smtp_auth optional\nsmtp_auth_without_tls yes\nsmtpd_auth_delay 0s\nrelay_from 192.0.2.1\nsmtp_users_file users\n"
    one = hooked(route=sink, services={name: base + (f"every_hook_answer auth {name}" if name != "pass" else "") for name in verdicts})
    (one.server.folder / "control" / "users").write_text("ann:" + scram_keys("right") + "\n")
    assert one.server.run("greenarrow_config", "reload").returncode == 0
    for name, codes in verdicts.items():
        for password, code in zip(("right", "wrong"), codes):
            with one.client(name) as client:
                client.ehlo()
                assert client.cmd("AUTH PLAIN " + b64encode(f"\0ann\0{password}".encode()).decode()).code == code, (name, password)
                if code == 235:
                    client.envelope()
    told = one.trace("auth", 10)
    assert [(t["mechanism"], t["user"]) for t in told] == [("PLAIN", "ann")] * 10
    assert [t["password"] for t in told] == ["right", "wrong"] * 5
