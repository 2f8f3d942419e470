"""`greenarrow throttles`, `throttle` and `status` show what throttle groups may and do."""

import datetime
import itertools
import json
import threading
import time

import pytest

from gatest.badsink import Default, Silence
from test_outgoing_limits import submit_many

SLOW = {"EOD": Silence()}
SOON = "stop_timeout 1s"     # what a silent receiver holds is given up at the end of the test


def run(server, *arguments):
    done = server.run("greenarrow", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def throttles(server, *arguments):
    return json.loads(run(server, "throttles", "--json", *arguments))


def wait_throttles(server, condition, timeout=15):
    end = time.monotonic() + timeout
    while not condition(found := throttles(server)["throttles"]):
        assert time.monotonic() < end, f"{found}\n{server.tail()}"
        time.sleep(0.05)
    return found


def busy(greenarrow, sinks):
    """A server with one mail in flight and two that wait, as soon as it is so, and its group."""
    server = greenarrow(route=sinks(SLOW), general=SOON, ip="max_concurrent_connections 1\nmax_delivery_rate 1200/min")
    submit_many(server, 3)
    found = wait_throttles(server, lambda found: [(g["in_flight"], g["queued_ram"]) for g in found] == [(1, 2)])
    return server, found[0]


def test_throttles_shows_what_a_group_may_and_does(greenarrow, sinks):
    server, group = busy(greenarrow, sinks)
    assert group["key"] == "2,receiver.example" and group["id"] == "t1"
    assert group["virtual_mta"] == "ip-1" and group["outmtaid"] == "2" and group["domains"] == ["receiver.example"]
    assert group["max_concurrent_connections"] == group["max_concurrent_connections_in_force"] == 1
    assert group["max_delivery_rate"] == group["max_delivery_rate_in_force"] == "1200/min"
    assert group["max_connection_rate"] == "0"
    assert group["connections"] == 1 and group["queued_bounce"] == group["queued_disk"] == 0
    assert 0 < group["deliveries_per_second"] < 1
    answer = throttles(server)
    assert {key: answer[key] for key in answer if key != "throttles"} == {
        "groups": 1, "in_backoff": 0, "connections": 1, "queued_ram": 2, "queued_bounce": 0, "queued_disk": 0, "in_flight": 1}
    lines = run(server, "throttles").splitlines()
    assert "t1  2,receiver.example  ip-1" in lines[3] and "1200/min" in lines[3] and lines[3].endswith("receiver.example")
    assert "throttle groups: 1" in lines and "- in backoff: 0" in lines and "- queued: ram 2, bounce 0, disk 0" in lines


def test_a_rule_is_shown_with_its_patterns(greenarrow, sinks):
    server = greenarrow(general=SOON, everywhere=f"domain receiver.example, *.receiver.example {{\n"
                        f"  smtp_route {sinks(SLOW).address}\n  max_concurrent_connections 3\n  id 7\n}}\n")
    submit_many(server, 1)
    group, = wait_throttles(server, lambda found: found)
    assert group["key"] == "ip2pd7" and group["domains"] == ["receiver.example", "*.receiver.example"]


def test_throttles_filters(greenarrow, sinks):
    server, _ = busy(greenarrow, sinks)
    for filters, count in [(["--filter-key=2,*"], 1), (["--filter-key=t1"], 1), (["--filter-key=relay*"], 0),
                           (["--filter-virtual-mta=ip-1"], 1), (["--filter-virtual-mta=2"], 1), (["--filter-virtual-mta=ip-7"], 0),
                           (["--filter-key=t1", "--filter-virtual-mta=ip-7"], 0)]:
        answer = throttles(server, *filters)
        assert len(answer["throttles"]) == answer["groups"] == count, filters


@pytest.mark.parametrize("name", ["2,receiver.example", "t1"])
def test_one_group_is_shown_by_key_and_by_id(greenarrow, sinks, name):
    server, group = busy(greenarrow, sinks)
    shown = json.loads(run(server, "throttle", name, "show", "--json"))
    assert list(shown) == list(group) and shown["key"] == group["key"] and shown["queued_ram"] == 2
    text = run(server, "throttle", name, "show").splitlines()
    assert [line.split()[0] for line in text] == list(group)
    assert text[0].split() == ["key", "2,receiver.example"]


@pytest.mark.parametrize("name", ["2,other.example", "t99", "t1x", "relay4"])
def test_a_group_that_is_not_there(greenarrow, sinks, name):
    server, _ = busy(greenarrow, sinks)
    done = server.run("greenarrow", "throttle", name, "show")
    assert done.returncode == 1 and f"there is no throttle group {name}" in done.stderr and not done.stdout


def test_a_backoff_by_command(greenarrow, sinks):
    server, _ = busy(greenarrow, sinks)
    before = time.time()
    group = json.loads(run(server, "throttle", "t1", "begin_backoff", "--for=1h", "--json"))
    assert group["in_backoff"] and group["state"] == "backoff" and group["backoff_reason"] == "begun by command"
    began, ends = (datetime.datetime.fromisoformat(group[key]).timestamp() for key in ("backoff_began_at", "backoff_ends_at"))
    assert before - 2 <= began <= time.time() + 1 and 3599 <= ends - began <= 3601
    assert group["max_delivery_rate"] == "1200/min" and group["max_delivery_rate_in_force"] == "5/s"
    assert group["normal_max_messages_per_hour"] == 72000 and group["backoff_max_messages_per_hour"] == 18000
    assert group["normal_max_concurrent_connections"] == group["backoff_max_concurrent_connections"] == 1
    assert throttles(server, "--in-backoff")["in_backoff"] == 1
    assert "1 in backoff" in run(server, "status")
    table = run(server, "throttles", "--in-backoff")
    assert "5/s (1200/min)" in table and "  backoff  " in table
    assert "in_backoff                          false" in run(server, "throttle", "2,receiver.example", "end_backoff")
    assert throttles(server, "--in-backoff")["throttles"] == []


def test_status_counts_groups_and_what_waits_in_them(greenarrow, sinks):
    server, _ = busy(greenarrow, sinks)
    assert server.status()["throttle"] == {"connections": 1, "max_connections": 10000, "groups": 1, "in_backoff": 0, "waiting": 2}
    assert "throttle groups 1, in which 2 envelopes wait; 0 in backoff" in run(server, "status")


@pytest.mark.parametrize("arguments", [("throttles", "all"), ("throttles", "--filter-colour=red"), ("throttle",), ("throttle", "t1"),
                                       ("throttle", "t1", "paint"), ("throttle", "t1", "show", "it"),
                                       ("throttle", "t1", "show", "--for=1h"), ("throttle", "t1", "begin_backoff", "--for=0s"),
                                       ("throttle", "t1", "begin_backoff", "--for=soon")])
def test_usage(greenarrow, sinks, arguments):
    server = greenarrow(route=sinks())
    done = server.run("greenarrow", *arguments)
    assert done.returncode == 2 and not done.stdout


def test_a_receiver_that_defers_40_percent_is_sent_less_until_it_takes_mail_again(greenarrow, sinks):
    """Into backoff within the window, told by throttles and explain, and out of it after return_after."""
    answers = itertools.cycle([451, 250, 250, 451, 250])
    well = threading.Event()
    sink = sinks({"EOD": lambda session, line: Default() if well.is_set() or next(answers) == 250 else "451 4.7.1 too much"})
    server = greenarrow(route=sink, retry="retry_schedule 2s", ip="throttle_program gentle\nmax_delivery_rate 50/s", top="""
        throttle_program gentle {
          deferral_rate 30%
          window 10s
          minimum_sample 10
          backoff_max_delivery_rate 10%
          return_after 4s
        }
        """)
    submit_many(server, 100)
    group, = wait_throttles(server, lambda found: [g["in_backoff"] for g in found] == [True], timeout=10)
    assert "deferral_rate" in group["backoff_reason"] and group["backoff_ends_at"]
    assert (group["normal_max_messages_per_hour"], group["backoff_max_messages_per_hour"]) == (180000, 18000)
    facts = json.loads(run(server, "explain", "--json", "receiver.example"))["facts"]
    assert any(fact["fact"] == "backoff" for fact in facts)
    well.set()
    server.wait_empty(60)
    wait_throttles(server, lambda found: not any(g["in_backoff"] for g in found))
    server.wait_log("backoff")
