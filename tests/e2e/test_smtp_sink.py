"""Postfix's smtp-sink with its fault options as the receiver: each fault, at each command, has its one outcome."""

import re
import subprocess
import time

import pytest

from gatest import ports

DELIVERED, DEFERRED, FAILED = "delivered", "deferral", "failure"
COMMANDS = ("connect", "ehlo", "mail", "rcpt", "data", ".", "quit")
# -f: 5yz, -r: 4yz, -q: disconnects, -Q: 421 and disconnects
FAULTS = {"-f": {"connect": DEFERRED, "ehlo": DELIVERED, "quit": DELIVERED}, "-r": {"quit": DELIVERED},
          "-q": {"quit": DELIVERED}, "-Q": {"quit": DELIVERED}}
CELLS = [(fault, command, outcomes.get(command, FAILED if fault == "-f" else DEFERRED))
         for fault, outcomes in FAULTS.items() for command in COMMANDS]
# no fault, but another kind of host
CELLS += [(option, "", DELIVERED) for option in ("-p", "-8", "-e", "-E", "-c")]
SHORT = "\n".join(f"smtp_{what}_timeout 3s" for what in ("greeting", "command", "data", "data_block", "dot")) + "\nmax_connect_attempts 1\n"


@pytest.fixture
def smtp_sinks(receivers):
    """Start smtp-sinks with options; their addresses."""
    started = []

    def make(options):
        port = ports.free_port()
        started.append(receivers["postfix"].jail.popen("/usr/sbin/smtp-sink", "-u", "postfix", *options, f"inet:127.0.0.1:{port}", "100",
                                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
        end = time.monotonic() + 10
        while ports.is_free("127.0.0.1", port):
            assert time.monotonic() < end and started[-1].poll() is None, "smtp-sink does not start"
            time.sleep(0.05)
        return f"127.0.0.1:{port}"

    yield make
    for one in started:
        one.kill()
        one.communicate()


@pytest.mark.parametrize("grouped", [True, False], ids=["pipelining", "no pipelining"])
def test_each_fault_at_each_command(greenarrow, smtp_sinks, grouped):
    routes = []
    for number, (option, command, _) in enumerate(CELLS):
        options = [option, command] if command else [option]
        address = smtp_sinks(options if grouped else [*options, "-p"])
        routes.append(f"domain c{number}.example {{\n  smtp_route {address}\n}}\n")
    server = greenarrow(everywhere=SHORT + "".join(routes), retry="retry_schedule 1h")
    for number in range(len(CELLS)):
        server.submit(recipients=[f"b@c{number}.example"])
    expected = [outcome for _, _, outcome in CELLS]
    server.wait_queue(60, success_total=expected.count(DELIVERED), deferral_total=expected.count(DEFERRED), failure_total=expected.count(FAILED))
    for number, (option, command, outcome) in enumerate(CELLS):
        if outcome != DELIVERED:
            server.wait_log(rf"to c{number}\.example: {outcome}, attempt 1, .*: \S")
        else:
            assert not re.search(rf"to c{number}\.example: ", server.log_text()), f"{option} {command}"
