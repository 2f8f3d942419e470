"""Reactions to what hosts say: the module smtp_patterns."""

import json
import re

import pytest

from gatest import corpus, daemon
from gatest.badsink import Default, Each

BLOCK = "domain receiver.example"


def attempt(greenarrow, sink, everywhere, **counter):
    server = greenarrow(route=sink, retry="retry_schedule 1h", everywhere=everywhere)
    server.submit()
    server.wait_queue(**counter)
    return server


def line_of(server, statement):
    """The line of greenarrow.conf that begins with STATEMENT, from 1."""
    lines = [number for number, line in enumerate(server.config.read_text().splitlines(), 1) if line.strip().startswith(statement)]
    assert len(lines) == 1, lines
    return lines[0]


def test_a_550_becomes_a_deferral(greenarrow, sinks):
    sink = sinks({"RCPT": "550 5.7.1 Blocked by MegaFilter"})
    attempt(greenarrow, sink, 'override_smtp_result "blocked by mega" deferral', deferral_total=1)


def test_a_451_becomes_a_failure_and_is_returned(greenarrow, sinks):
    sink = sinks({"RCPT": lambda session, line: "451 4.2.1 mailbox is gone" if b"receiver" in line else Default()})
    server = greenarrow(route=sink, retry="retry_schedule 1h", bounce=True,
                        everywhere='override_smtp_result "mailbox is (gone|old)" failure text="We gave up."')
    server.submit()
    report, = sink.wait_messages()
    assert (report.sender, report.recipients) == ("", ["a@sender.example"])
    assert b"Action: failed\r\n" in report.wire and b"We gave up." in report.wire
    queue = server.wait_empty()
    assert (queue["failure_total"], queue["deferral_total"]) == (1, 0)


def test_a_delivery_is_made_a_deferral_where_the_operator_wants_that(greenarrow, sinks):
    """The receiver has it, and gets it again: so it was ordered."""
    sink = sinks({"EOD": Each("250 accepted for the greylist", "250 accepted")})
    server = greenarrow(route=sink, retry="retry_schedule 1s", everywhere='override_smtp_result greylist deferral text="Accepted, for now."')
    server.submit()
    sink.wait_messages(2)
    queue = server.wait_empty()
    assert (queue["deferral_total"], queue["success_total"]) == (1, 1)
    server.wait_log("deferral.*Accepted, for now")


def test_a_success_is_made_of_a_failure(greenarrow, sinks):
    sink = sinks({"RCPT": "550 5.1.1 spam trap"})
    server = attempt(greenarrow, sink, 'smtp_pattern "spam trap" result=success', success_total=1)
    server.wait_empty()


@pytest.mark.parametrize("words, counter", [("", "failure_total"), (" match_format=raw", "deferral_total")])
def test_raw_is_matched_with_its_codes_and_line_ends(greenarrow, sinks, words, counter):
    sink = sinks({"RCPT": "550-5.7.1 one\r\n550 5.7.1 two"})
    attempt(greenarrow, sink, f'override_smtp_result "one.550 5.7.1 two$" deferral{words}', **{counter: 1})


def test_a_narrower_scope_replaces_the_patterns_of_a_wider_one(greenarrow, sinks):
    sink = sinks({"RCPT": "550 5.1.1 no"})
    attempt(greenarrow, sink, f'override_smtp_result "no" deferral\n{BLOCK} {{\n  override_smtp_result "other" success\n}}', failure_total=1)


def test_of_two_patterns_the_first_decides_and_smtp_pattern_comes_before_others(greenarrow, sinks):
    sink = sinks({"RCPT": lambda session, line: "550 5.1.1 both" if b"<b@" in line else "550 5.1.1 three"})
    server = greenarrow(route=sink, retry="retry_schedule 1h", everywhere='override_smtp_result both failure, three deferral\n'
                        'override_smtp_result three failure\nsmtp_pattern both result=deferral')
    server.submit(recipients=["b@receiver.example", "c@receiver.example"])
    server.wait_queue(deferral_total=2, failure_total=0)


def test_our_own_words_are_matched_when_no_host_said_anything(greenarrow):
    server = greenarrow(everywhere=f'{BLOCK} {{\n  smtp_route 127.0.0.1:9\n}}\nsmtp_pattern "Connection refused" result=failure', retry="retry_schedule 1h")
    server.submit()
    server.wait_queue(failure_total=1)


def test_a_reload_acts_on_the_next_attempt(greenarrow, sinks):
    sink = sinks({"RCPT": "451 4.2.1 full"})
    server = greenarrow(route=sink, retry="retry_schedule 1s", everywhere='override_smtp_result "never said" failure')
    server.submit()
    server.wait_queue(deferral_total=1, failure_total=0)
    server.change(everywhere='override_smtp_result "full" failure')
    done = server.run("greenarrow_config", "reload")
    assert done.returncode == 0, done.stderr
    server.wait_queue(failure_total=1)
    server.change(everywhere="")
    assert server.run("greenarrow_config", "reload").returncode == 0
    server.submit()
    server.wait_queue(disk=1, failure_total=1)


def test_a_match_is_logged_with_its_place_and_what_it_did_once_a_second(greenarrow, sinks):
    sink = sinks({"RCPT": "550 5.7.1 Blocked by MegaFilter"})
    server = greenarrow(route=sink, retry="retry_schedule 1h", workers=1,
                        everywhere='override_smtp_result "never said" failure\noverride_smtp_result "never" failure, "mega" deferral')
    server.submit(recipients=[f"b{i}@receiver.example" for i in range(20)])
    server.wait_queue(deferral_total=20)
    line = line_of(server, 'override_smtp_result "never" failure,')
    server.wait_log(rf"info smtp_patterns: {server.config}:{line}: override_smtp_result `mega` matched: result deferral for "
                    r"receiver\.example \(\S+\): 550 5\.7\.1 Blocked by MegaFilter \[GA-PAT-0001\]")
    assert len(re.findall("GA-PAT-0001", server.log_text())) <= 3, "twenty matches in a moment"


@pytest.mark.parametrize("sender, header, key, paused", [
    ("a@Sender.example", "x@from.example", "", "sender.example"),
    ("a@sender.example", "x@From.example", "key=from", "from.example"),
    ("a@sender.example", "x@from.example", "key=mailfrom", "sender.example"),
    ("", "x@from.example", "", None),
    ("a@sender.example", "nobody", "key=from", None),
])
def test_a_pause_is_of_the_sender_or_of_the_from_field(greenarrow, sinks, sender, header, key, paused):
    sink = sinks({"RCPT": "550 5.7.1 your mail is unwanted"})
    server = greenarrow(route=sink, retry="retry_schedule 1h", everywhere=f"smtp_match_pause_domain unwanted for=1h {key}\n"
                        "smtp_pattern unwanted result=deferral")
    server.submit(corpus.simple().replace(b"<a@sender.example>", header.encode()), sender=sender)
    server.wait_queue(deferral_total=1)
    if paused:
        server.wait_log(rf": smtp_match_pause_domain `unwanted` matched: pause of {re.escape(paused)} for")
    else:
        server.wait_log("matched: result deferral for")
        assert "pause of" not in server.log_text()


def test_mail_of_a_paused_sender_is_deferred_and_other_mail_goes(greenarrow, sinks):
    sink = sinks({"RCPT": Each("550 5.7.1 your mail is unwanted", Default())})
    server = greenarrow(route=sink, retry="retry_schedule 1h", everywhere="smtp_match_pause_domain unwanted for=1h")
    server.submit()
    server.wait_queue(failure_total=1)
    server.wait_log("paused: sender sender.example to receiver.example: 550 5.7.1 your mail is unwanted")
    server.submit()
    server.wait_queue(deferral_total=1)
    server.wait_log("451 4.7.1 Deliveries to this recipient domain")
    server.submit(sender="a@other.example")
    assert sink.wait_messages()[0].sender == "a@other.example"


@pytest.mark.parametrize("statement, column, why", [
    ('override_smtp_result "no" sometimes', 27, "`sometimes` is none of the results"),
    ('override_smtp_result "no" match_format=raw', 27, "is none of the results"),
    ('override_smtp_result "no" deferral "a text"', 36, "`a text` is no option"),
    ('override_smtp_result "no" deferral text=', 36, "is not a text"),
    ('override_smtp_result "(no" failure', 22, "regular expression"),
    ('override_smtp_result "no" failure for=1m', 35, "is no option"),
    ('smtp_pattern "no" percent=5%', 14, "`no` does nothing"),
    ('smtp_pattern "no" result=failure percent=5%', 14, "but no pause"),
    ('smtp_pattern "no" backoff text=x', 14, "but no result="),
    ('smtp_pattern "no" backoff backoff=1m', 27, "is there twice"),
    ('smtp_pattern "no" pause key=sender', 25, "`key=sender` is neither"),
    ('smtp_match_begin_backoff_mode "no" for=soon', 36, "is no duration"),
    ('smtp_match_begin_backoff_mode "no" for', 36, "is no option"),
    ('smtp_match_pause_domain "a" for=1m, "no" percent=500%', 42, "is no share"),
    ('smtp_match_pause_domain "no" often', 30, "is no option"),
])
@pytest.mark.parametrize("place", ["everywhere", "general", "domain"])
def test_validate_says_what_is_wrong_and_where(greenarrow, statement, column, why, place):
    """Behind a statement of the same name that is fine, which the block of a domain inherits."""
    fine = statement.split()[0] + ' "fine" ' + {"override": "failure", "smtp_pat": "backoff"}.get(statement[:8], "for=1m")
    settings = {"domain": {"everywhere": f"{fine}\n" + daemon.block(BLOCK, statement)}}.get(place, {place: f"{fine}\n{statement}"})
    server = greenarrow(start=False, **settings)
    done = server.run("greenarrow_config", "validate")
    number = line_of(server, statement)
    indent = len(server.config.read_text().splitlines()[number - 1]) - len(statement)
    assert done.returncode == 1
    assert f"{server.config}:{number}:{indent + column}: {statement.split()[0]}: " in done.stderr and why in done.stderr, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


@pytest.mark.parametrize("statement", ['smtp_match_begin_backoff_mode "slow down" for=20m', 'smtp_pattern "slow down" backoff=20m'])
def test_a_match_puts_the_group_into_backoff(greenarrow, sinks, statement):
    server = greenarrow(route=sinks({"RCPT": "421 4.7.0 slow down, please"}), retry="retry_schedule 1h", everywhere=statement)
    server.submit()
    server.wait_queue(disk=1, in_flight=0)
    group, = json.loads(server.run("greenarrow", "throttles", "--in-backoff", "--json").stdout)["throttles"]
    assert group["key"] == "2,receiver.example" and "slow down" in group["backoff_reason"]
    assert server.run("greenarrow", "throttle", "2,receiver.example", "end_backoff").returncode == 0
    assert json.loads(server.run("greenarrow", "throttles", "--in-backoff", "--json").stdout)["throttles"] == []
