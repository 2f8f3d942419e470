"""Reactions to what hosts say: the module smtp_patterns."""

import pytest

from gatest import daemon


def attempt(greenarrow, sink, everywhere, **counter):
    server = greenarrow(route=sink, retry="retry_schedule 1h", everywhere=everywhere)
    server.submit()
    server.wait_queue(**counter)
    return server


def test_a_550_becomes_a_deferral(greenarrow, sinks):
    sink = sinks({"RCPT": "550 5.7.1 Blocked by MegaFilter"})
    attempt(greenarrow, sink, 'override_smtp_result "blocked by mega" deferral', deferral_total=1)


def test_a_451_becomes_a_failure_and_is_returned(greenarrow, sinks):
    sink = sinks({"RCPT": "451 4.2.1 mailbox is gone"})
    server = attempt(greenarrow, sink, 'override_smtp_result "mailbox is (gone|old)" failure "We gave up."', failure_total=1)
    assert daemon.find(server.status(), "smtp_client")["failure_total"] == 1


@pytest.mark.parametrize("words, counter", [("", "failure_total"), (" match_format=raw", "deferral_total")])
def test_raw_is_matched_with_its_codes_and_line_ends(greenarrow, sinks, words, counter):
    sink = sinks({"RCPT": "550-5.7.1 one\r\n550 5.7.1 two"})
    attempt(greenarrow, sink, f'override_smtp_result "one.550 5.7.1 two$" deferral{words}', **{counter: 1})


def test_a_narrower_scope_replaces_the_patterns_of_a_wider_one(greenarrow, sinks):
    sink = sinks({"RCPT": "550 5.1.1 no"})
    attempt(greenarrow, sink, 'override_smtp_result "no" deferral\ndomain receiver.example {\n  override_smtp_result "other" success\n}', failure_total=1)


def test_our_own_words_are_matched_when_no_host_said_anything(greenarrow):
    server = greenarrow(everywhere='domain receiver.example {\n  smtp_route 127.0.0.1:9\n}\nsmtp_pattern "Connection refused" result=failure', retry="retry_schedule 1h")
    server.submit()
    server.wait_queue(failure_total=1)


@pytest.mark.parametrize("statement, why", [
    ('override_smtp_result "no" sometimes', "is not success, deferral or failure"),
    ('override_smtp_result "no" match_format=raw', "needs a result"),
    ('override_smtp_result "(no" failure', "regular expression"),
    ('smtp_pattern "no" percent=5%', "does nothing"),
    ('smtp_match_begin_backoff_mode "no" for=soon', "is no duration"),
    ('smtp_match_pause_domain "no" percent=500%', "is no share"),
    ('smtp_match_pause_domain "no" often', "is no option"),
])
def test_validate_says_what_is_wrong_and_where(greenarrow, statement, why):
    server = greenarrow(start=False, everywhere=statement)
    done = server.run("greenarrow_config", "validate")
    assert done.returncode == 1 and why in done.stderr and "greenarrow.conf:" in done.stderr, done.stderr
