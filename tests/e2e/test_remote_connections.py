"""`greenarrow remote_connections` shows each connection as it is: its phase, since when, whose, to where."""

import datetime
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time

import pytest

from gatest import bench, corpus, daemon, need, ports
from gatest.badsink import BlackHole, Body, Default, Delay, Each, Silence

FIELDS = ["id", "state", "start_time", "local_ip", "local_port", "remote_ip", "remote_port", "deliveries_done", "deliveries_max",
          "conn_expires_remaining", "initial_domain", "most_recent_domain", "mx_hostname", "throttle_group_key", "throttle_group_maxconn",
          "outmtaid", "tls_active", "current_smtp_command_duration_ms", "current_smtp_command"]
INTEGERS = {"id", "local_port", "remote_port", "deliveries_done", "deliveries_max", "conn_expires_remaining", "throttle_group_maxconn",
            "current_smtp_command_duration_ms"}
FAST_END = "smtp_connect_timeout 8s\nsmtp_greeting_timeout 8s\nsmtp_command_timeout 8s\nsmtp_data_timeout 8s\nsmtp_dot_timeout 8s\nsmtp_data_block_timeout 8s\n"


def report(server, *arguments):
    done = server.run("greenarrow", "remote_connections", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def document(server, *filters):
    answer = json.loads(report(server, "--json", *filters))
    assert list(answer) == ["remote_connections", "connections_saved_for_reuse", "connections_delivery_in_progress"]
    assert answer["connections_saved_for_reuse"] + answer["connections_delivery_in_progress"] == len(answer["remote_connections"])
    return answer


def connections(server, *filters):
    return document(server, *filters)["remote_connections"]


def wait_connections(server, condition, timeout=20):
    end = time.monotonic() + timeout
    while not condition(found := connections(server)):
        assert time.monotonic() < end, f"{found}\n{server.tail()}"
        time.sleep(0.05)
    return found


def wait_phase(server, state, command):
    return wait_connections(server, lambda found: [(c["state"], c["current_smtp_command"]) for c in found] == [(state, command)])[0]


def assert_lasts(server, first):
    """The phase of FIRST goes on, and its time grows as time does."""
    started = time.monotonic()
    time.sleep(0.3)
    now, = connections(server)
    passed = (time.monotonic() - started) * 1000
    assert (now["state"], now["current_smtp_command"], now["id"]) == (first["state"], first["current_smtp_command"], first["id"])
    grown = now["current_smtp_command_duration_ms"] - first["current_smtp_command_duration_ms"]
    if first["current_smtp_command"]:
        assert 250 <= grown <= passed + 1000, (grown, passed)
    else:
        assert now["current_smtp_command_duration_ms"] == 0


# Where the sink falls silent, and what is shown meanwhile.
PHASES = {
    "greeting": ({"banner": Silence()}, "sending", ""),
    "EHLO": ({"EHLO": Silence()}, "sending", "EHLO"),
    "HELO": ({"EHLO": "502 5.5.1 no", "HELO": Silence()}, "sending", "EHLO"),
    "MAIL": ({"MAIL": Silence()}, "sending", "MAIL FROM"),
    "RCPT": ({"RCPT": Silence()}, "sending", "RCPT TO"),
    "DATA": ({"DATA": Silence()}, "sending", "DATA"),
    "dot": ({"EOD": Silence()}, "sending", "sending message (waiting)"),
    "QUIT": ({"QUIT": Silence()}, "closing", "QUIT"),
}


@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelining", "one by one"])
@pytest.mark.parametrize("phase", PHASES)
def test_a_phase_is_shown_while_it_lasts(greenarrow, sinks, phase, pipelining):
    script, state, command = PHASES[phase]
    sink = sinks(script, extensions=["PIPELINING", "8BITMIME"] if pipelining else ["8BITMIME"])
    server = greenarrow(route=sink, retry="retry_schedule 1h", everywhere=FAST_END + "smtp_quit_timeout 8s")
    server.submit()
    assert_lasts(server, wait_phase(server, state, command))


def test_with_pipelining_a_command_began_when_it_was_sent(greenarrow, sinks):
    """RCPT left together with MAIL: it has waited for as long, though MAIL was answered meanwhile."""
    sink = sinks({"MAIL": [Delay(1), Default()], "RCPT": Silence()})
    server = greenarrow(route=sink, retry="retry_schedule 1h", everywhere=FAST_END)
    server.submit()
    assert wait_phase(server, "sending", "RCPT TO")["current_smtp_command_duration_ms"] >= 900


def test_connecting_is_shown_with_the_source_address_and_no_port(greenarrow):
    with BlackHole() as hole:
        server = greenarrow(route=hole, retry="retry_schedule 1h", everywhere=FAST_END)
        server.submit()
        shown = wait_phase(server, "connecting", "")
        assert (shown["local_ip"], shown["local_port"]) == ("127.0.0.2", 0)
        assert f"{shown['remote_ip']}:{shown['remote_port']}" == hole.address
        assert_lasts(server, shown)


def test_starttls_is_shown_from_the_command_to_the_end_of_the_handshake(greenarrow, sinks, certificate):
    for script in ({"STARTTLS": Silence()}, {"STARTTLS": ["220 2.0.0 go", Silence()]}):
        server = greenarrow(route=sinks(script, certificate=certificate), retry="retry_schedule 1h", everywhere=FAST_END + "smtp_tls_timeout 8s")
        server.submit()
        assert_lasts(server, wait_phase(server, "sending", "STARTTLS"))


def test_auth_is_shown_from_the_command_to_its_last_reply(greenarrow, sinks):
    """LOGIN: the user name is asked for after a second, the password never."""
    sink = sinks({"other": Each([Delay(1), "334 VXNlcm5hbWU6"], Silence())}, extensions=["AUTH LOGIN"])
    server = greenarrow(retry="retry_schedule 1h", everywhere=FAST_END + daemon.block(
        "domain receiver.example", f"smtp_route {sink.address}\ndestination_username someone\ndestination_password x\ndestination_auth_cleartext yes"))
    server.submit()
    shown = wait_phase(server, "sending", "AUTH")
    sink.wait_for(lambda: len(sink.sessions[0].commands) == 3)
    later, = connections(server)
    assert later["current_smtp_command"] == "AUTH" and later["current_smtp_command_duration_ms"] >= 900
    assert_lasts(server, {**shown, **later})


def test_smtps_is_shown_until_the_handshake_ends(greenarrow, sinks):
    need.root()
    sink = sinks({"connect": Silence()}, host="127.0.0.78", port=465)
    server = greenarrow(route=sink, retry="retry_schedule 1h", everywhere=FAST_END + "smtp_tls_timeout 8s")
    server.submit()
    shown = wait_phase(server, "establishing_smtps", "")
    assert shown["local_port"] == sink.wait_sessions(1)[0].peer[1]
    assert_lasts(server, shown)
    assert [c["id"] for c in connections(server, "--filter-state=establishing_smtps")] == [shown["id"]]


def test_a_message_that_is_not_taken_is_being_sent(greenarrow, sinks):
    def stop_reading(session, line):
        session.reader._transport.pause_reading()
        return Silence()
    sink = sinks({"body": Body(1, stop_reading)})
    server = greenarrow(route=sink, retry="retry_schedule 1h", everywhere=FAST_END)
    server.submit(corpus.simple() + (b"x" * 70 + b"\r\n") * 150000)
    assert_lasts(server, wait_phase(server, "sending", "sending message (sending)"))


def local_iso(text):
    return datetime.datetime.fromisoformat(re.sub(r"(\.\d{6})\d{3}", r"\1", text))


def test_every_field_has_its_type_and_its_value(greenarrow, sinks, certificate, dns):
    sink = sinks({"EOD": Silence()}, certificate=certificate, host="127.0.0.9", port=25 if os.geteuid() == 0 else None)
    routes = {} if sink.port == 25 else {"route": sink}
    zone = dns({"receiver.example": ["MX 10 mx.receiver.example."], "mx.receiver.example": ["A 127.0.0.9"]})
    server = greenarrow(dns=zone, retry="retry_schedule 1h", ip="domain receiver.example {\n  max_concurrent_connections 3\n}\n",
                        everywhere=FAST_END + "reuse_connections yes\nreuse_connections_max_messages 7", **routes)
    before = datetime.datetime.now(datetime.timezone.utc)
    server.submit()
    one = wait_phase(server, "sending", "sending message (waiting)")
    assert list(one) == FIELDS
    for name, value in one.items():
        assert type(value) is (int if name in INTEGERS else bool if name == "tls_active" else str), name
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}[+-]\d\d:\d\d", one["start_time"])
    assert datetime.timedelta(seconds=-1) < local_iso(one["start_time"]) - before < datetime.timedelta(seconds=10)
    assert one["id"] == 1 and one["local_ip"] == "127.0.0.2" and one["local_port"] == sink.sessions[0].peer[1]
    assert (one["remote_ip"], one["remote_port"]) == ("127.0.0.9", sink.port)
    assert (one["deliveries_done"], one["deliveries_max"], one["conn_expires_remaining"]) == (0, 7, 0)
    assert (one["initial_domain"], one["most_recent_domain"]) == ("receiver.example",) * 2
    assert one["mx_hostname"] == ("mx.receiver.example" if sink.port == 25 else "127.0.0.9")
    assert re.fullmatch(r"ip2pd\d+", one["throttle_group_key"]) and one["throttle_group_maxconn"] == 3
    assert one["outmtaid"] == "2" and one["tls_active"] is True
    text = report(server, "--json")
    assert text.startswith('{\n    "remote_connections": [\n        {\n            "id": 1,\n            "state": "sending",\n') and "\\/" not in text


def test_without_connections_every_layout_is_whole(greenarrow, sink):
    server = greenarrow(route=sink)
    assert report(server, "--json") == ('{\n    "remote_connections": [],\n    "connections_saved_for_reuse": 0,\n'
                                        '    "connections_delivery_in_progress": 0\n}\n')
    none = "open connections: 0\n- delivery in progress: 0\n- waiting for possible reuse: 0\n"
    assert report(server, "--verbose") == none
    heading = report(server).split("\n")
    assert heading[1].split() == ("id state command / time tls local ip:port -> remote ip:port time sent / max timeout mtaid key / maxconn "
                                  "mx hostname initial domain most recent domain").split()
    assert report(server).endswith("\n\n" + none)


def test_a_saved_connection_is_shown_with_the_seconds_it_has_left(greenarrow, sink):
    server = greenarrow(route=sink, everywhere="reuse_connections yes\nreuse_connections_timeout 20s")
    server.submit(recipients=["a@one.example"])
    sink.wait_messages(1)
    wait_connections(server, lambda found: [c["state"] for c in found] == ["saved_for_reuse"])
    time.sleep(1.1)
    one, = connections(server)
    assert one["current_smtp_command"] == "" and one["current_smtp_command_duration_ms"] == 0
    assert (one["deliveries_done"], one["deliveries_max"]) == (1, 5) and 15 <= one["conn_expires_remaining"] <= 19
    assert document(server)["connections_saved_for_reuse"] == 1
    row = report(server).split("\n")[3]
    assert re.search(r"saved_for_reuse +- / +no .* 1 / +5 +1[5-9]s ", row), row
    block = report(server, "--verbose")
    assert re.search(r"^Deliveries Completed:   1 / 5 \(1[5-9] secs until close\)$", block, re.M) and block.endswith("reuse: 1\n")


def test_the_layouts_agree(greenarrow, sinks):
    sink = sinks({"EOD": Silence()})
    server = greenarrow(route=sink, retry="retry_schedule 1h", everywhere=FAST_END)
    server.submit(recipients=["a@one.example"])
    server.submit(recipients=["a@a-domain-with-a-long-name.example"])
    found = wait_connections(server, lambda found: [c["current_smtp_command"] for c in found] == ["sending message (waiting)"] * 2)
    lines = report(server).split("\n")
    columns = [match.span() for match in re.finditer("-+", lines[2])]
    blocks = report(server, "--verbose").split("\n\n")
    assert len(lines) == 10 and len(columns) == 13 and len(blocks) == 3
    for one, row, block in zip(found, lines[3:5], blocks):
        cells = [row[start:end].strip() for start, end in columns]
        age = cells.pop(5)
        assert re.fullmatch(r"\d+s", age)
        assert re.fullmatch(r"sending data \(waiting\) / \d+\.\d{3}s", cells.pop(2))
        assert [re.sub(" +", " ", cell) for cell in cells] == [
            str(one["id"]), "sending", "no", f"127.0.0.2:{one['local_port']} -> {sink.address}", "0 / 1", "active", "2",
            f"2,{one['initial_domain']} / 100", "127.0.0.1", one["initial_domain"], one["initial_domain"]]
        fields = dict(re.split(r": +", line, maxsplit=1) for line in block.split("\n")[1:])
        assert block.startswith(f"CONNECTION #{one['id']}\nConnection State:       sending\n")
        shown = fields.pop("Connection Time")
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{9} [+-]\d{4} \S+", shown)
        assert shown.replace(" ", "T", 1)[:29] == one["start_time"][:29]
        assert re.fullmatch(r"sending message \(waiting\) \(\d+\.\d{3}s\)", fields.pop("Current SMTP Command"))
        assert fields == {"Connection State": "sending", "TLS Active": "no", "Local IP": "127.0.0.2", "Remote IP": "127.0.0.1",
                          "Deliveries Completed": "0 / 1 (active)", "VirtualMTA ID": "2", "Throttle Group Key": f"2,{one['initial_domain']}",
                          "Throttle Group Maxconn": "100", "MX Hostname": "127.0.0.1", "Initial Domain": one["initial_domain"],
                          "Most Recent Domain": one["initial_domain"]}


def have_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
        return True
    except OSError:
        return False


def test_filters(greenarrow, sinks):
    waiting = {"EOD": Silence()}
    v4, other = sinks(waiting), sinks(waiting, host="127.0.0.3")
    v6 = sinks(waiting, host="::1") if have_ipv6() else None
    domains = {"v4.example": v4, "other.example": other, **({"v6.example": v6} if v6 else {})}
    server = greenarrow(retry="retry_schedule 1h", ip="smtp_source ::1 mail1.test.example" if v6 else "", everywhere=FAST_END.replace("8s", "30s") + "".join(
        daemon.block(f"domain {name}", f"smtp_route {sink.address}") for name, sink in domains.items()))
    server.submit(recipients=["a@other.example"])
    wait_connections(server, lambda found: [c["current_smtp_command"] for c in found] == ["sending message (waiting)"])
    time.sleep(1.5)
    server.submit(recipients=[f"a@{name}" for name in domains if name != "other.example"])
    everything = wait_connections(server, lambda found: [c["current_smtp_command"] for c in found] == ["sending message (waiting)"] * len(domains))
    port = {c["initial_domain"]: c["local_port"] for c in everything}

    def shown(*filters):
        answer = document(server, *filters)
        assert answer["connections_delivery_in_progress"] == len(answer["remote_connections"])
        return {c["initial_domain"].removesuffix(".example") for c in answer["remote_connections"]}

    ipv6 = {"v6"} if v6 else set()
    assert shown("--filter-remote-ip=127.0.0.3") == {"other"}
    assert shown(f"--filter-remote-ip=127.0.0.3:{other.port}") == {"other"}
    assert shown(f"--filter-remote-ip=127.0.0.3:{v4.port}") == set()
    assert shown("--filter-remote-ip=127.0.0.1") == {"v4"}
    assert shown("--filter-remote-ip=::1") == ipv6
    assert shown("--filter-local-ip=127.0.0.2") == {"v4", "other"}
    assert shown(f"--filter-local-ip=127.0.0.2:{port['v4.example']}") == {"v4"}
    assert shown("--filter-local-ip=127.0.0.77") == set()
    if v6:
        assert shown(f"--filter-remote-ip=[::1]:{v6.port}") == {"v6"} and shown(f"--filter-remote-ip=[::1]:{v4.port}") == set()
        assert shown(f"--filter-local-ip=[::1]:{port['v6.example']}") == {"v6"}
        row = next(line for line in report(server).split("\n") if "v6.example" in line)
        assert f"[::1]:{port['v6.example']} -> " in row and f" {v6.address} " in row
        assert re.search(r"^Remote IP:              ::1$", report(server, "--verbose", "--filter-domain=v6.example"), re.M)
    assert shown("--filter-domain=Other.Example") == {"other"}
    assert shown("--filter-mtaid=2") == {"v4", "other"} | ipv6 and shown("--filter-mtaid=3") == set()
    assert shown("--filter-state=sending") == {"v4", "other"} | ipv6 and shown("--filter-state=saved_for_reuse") == set()
    assert shown("--filter-connection-duration=1s500ms") == {"other"}, "the others are younger"
    assert shown("--filter-connection-duration=10ms") == {"v4", "other"} | ipv6 and shown("--filter-connection-duration=1h") == set()
    assert shown("--filter-remote-ip=127.0.0.1", "--filter-domain=other.example") == set(), "all filters hold"
    assert "open connections: 1\n" in report(server, "--filter-domain=other.example")


def test_ids_go_up_and_begin_at_1_after_a_restart(greenarrow, sink):
    server = greenarrow(route=sink, everywhere="reuse_connections yes")
    for number in (1, 2):
        server.submit(recipients=[f"a@d{number}.example"])
        sink.wait_messages(number)
    assert [c["id"] for c in wait_connections(server, lambda found: len(found) == 2)] == [1, 2]
    server.restart()
    server.submit()
    sink.wait_messages(3)
    assert [c["id"] for c in wait_connections(server, lambda found: len(found) == 1)] == [1]


def loop_of(server, **arguments):
    return subprocess.Popen([str(daemon.program("greenarrow")), "remote_connections", f"--config-filename={server.config}", "--loop"],
                            env=daemon.environment(), start_new_session=True, **arguments)


def test_loop_repeats_into_a_pipe_and_ends_with_ctrl_c(greenarrow, sink):
    server = greenarrow(route=sink)
    looping = loop_of(server, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(2.3)
    looping.send_signal(signal.SIGINT)
    out, err = looping.communicate(timeout=10)
    assert looping.returncode == 0 and not err
    assert 2 <= out.count(b"open connections: 0\n") <= 5 and b"\033" not in out
    assert out.endswith(b"reuse: 0\n"), "it never ends within a report"


def test_loop_clears_a_terminal(greenarrow, sink):
    server = greenarrow(route=sink)
    master, slave = os.openpty()
    looping = loop_of(server, stdout=slave, stderr=slave)
    os.close(slave)
    time.sleep(1.3)
    looping.send_signal(signal.SIGINT)
    assert looping.wait(10) == 0
    assert os.read(master, 100000).count(b"\033[H\033[2J  ") >= 2
    os.close(master)


def test_loop_ends_when_the_daemon_does(greenarrow, sink):
    server = greenarrow(route=sink)
    looping = loop_of(server, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(0.7)
    server.stop()
    _, err = looping.communicate(timeout=20)
    assert looping.returncode == 1 and err.count(b"\n") == 1


def test_many_listings_at_once_while_connections_come_and_go(greenarrow, sink):
    """Listings keep their place in a list that changes under them."""
    server = greenarrow(route=sink, everywhere="max_concurrent_connections 20")
    wrong, ended = [], threading.Event()

    def look():
        while not ended.is_set():
            ids = [c["id"] for c in server_list(server)]
            if ids != sorted(set(ids)):
                wrong.append(ids)

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    with server.client() as client:
        client.ehlo()
        for number in range(150):
            client.envelope(recipients=[f"a@d{number % 30}.example"])
            assert client.data(corpus.simple()).code == 250
    sink.wait_messages(150, timeout=60)
    ended.set()
    for thread in threads:
        thread.join()
    assert not wrong


def server_list(server):
    """The rows of the control socket's answer, all parts."""
    rows = []
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(server.folder / "run" / "control.sock"))
        sock.sendall(b'{"v":1,"id":1,"cmd":"connections","args":{}}\n')
        for line in sock.makefile("rb"):
            part = json.loads(line)
            rows += part.get("remote_connections", [])
            if "connections_saved_for_reuse" in part:
                return rows
    raise AssertionError("the answer ended early")


MANY = 9000


def probe(server, sink):
    """Milliseconds from handing in a message to its arrival."""
    before, started = len(sink.messages), time.monotonic()
    server.submit(recipients=["a@probe.example"])
    sink.wait_for(lambda: len(sink.messages) > before)
    return (sink.messages[-1].at - started) * 1000


def listing(server, *arguments):
    """Seconds that one listing takes, from the start of the program to its end."""
    started = time.monotonic()
    out = report(server, *arguments)
    return time.monotonic() - started, out


@pytest.mark.heavy
def test_9000_connections_are_listed_in_half_a_second_and_hold_up_no_delivery(greenarrow, sinks, tmp_path):
    slowed = 4 if b"__asan_init" in daemon.program("greenarrowd").read_bytes() else 1       # what a sanitizer costs
    port, prompt = ports.free_port(), sinks()
    holder = bench.Tool(tmp_path, bench.tool("ga_smtp_sink"), f"--listen=127.0.0.1:{port}", "--delay=10m", "--delay-at=eom")
    try:
        holder.wait_for("ready")
        server = greenarrow(general="stop_timeout 1s", everywhere=daemon.block("domain *.many.example", f"smtp_route 127.0.0.1:{port}\nmax_concurrent_connections {MANY}")
                            + daemon.block("domain probe.example", f"smtp_route {prompt.address}"))
        alone = sorted(probe(server, prompt) for _ in range(40))
        load = bench.Tool(tmp_path, bench.tool("ga_smtp_source"), f"--messages={MANY}", "--size=1000", "--to=u%n.%r@d%d.many.example", "--domains=100", f"127.0.0.1:{server.port}")
        end = time.monotonic() + 120
        while server.status()["smtp_client"]["connections"] < MANY or server.status()["smtp_client"]["connecting"]:
            assert time.monotonic() < end, server.status()["smtp_client"]
            time.sleep(0.2)
        load.stop()
        took, text = min((listing(server, "--json") for _ in range(5)), key=lambda one: one[0])
        found = json.loads(text)["remote_connections"]
        assert len(found) == MANY and [c["id"] for c in found] == sorted({c["id"] for c in found})
        assert {c["state"] for c in found} == {"sending"}
        table, _ = min((listing(server) for _ in range(3)), key=lambda one: one[0])
        filtered, _ = min((listing(server, "--json", "--filter-state=closing") for _ in range(3)), key=lambda one: one[0])

        # in processes of their own, or the probes would wait for this one to parse
        lists = subprocess.Popen(["sh", "-c", 'n=0; while test ! -e stop; do "$@" >last && n=$((n+1)) || exit 1; done; echo $n >count', "sh",
                                  str(daemon.program("greenarrow")), "remote_connections", f"--config-filename={server.config}", "--json"],
                                 cwd=tmp_path, env=daemon.environment())
        meanwhile = sorted(probe(server, prompt) for _ in range(40))
        (tmp_path / "stop").touch()
        assert lists.wait(30) == 0
        count = int((tmp_path / "count").read_text())
        print(f"9,000 connections: --json {took * 1000:.0f} ms, table {table * 1000:.0f} ms, none of them {filtered * 1000:.0f} ms; a delivery alone "
              f"{alone[20]:.1f} (at most {alone[-1]:.1f}) ms, during {count} listings {meanwhile[20]:.1f} (at most {meanwhile[-1]:.1f}) ms")
        assert count >= 1 and len(json.loads((tmp_path / "last").read_text())["remote_connections"]) in (MANY, MANY + 1)
        assert took < 0.5 * slowed and table < 0.5 * slowed and filtered < 0.1 * slowed
        # two cores share daemon, listings, both sinks and this test
        assert meanwhile[20] - alone[20] < 50 * slowed, (alone, meanwhile)
        server.process.kill()           # nobody waits for 9,000 replies
        server.process.wait()
        server.exit_checked = True
    finally:
        holder.stop()


def test_a_stop_in_the_middle_of_listings_is_clean(greenarrow, sinks):
    """Listings and closings are under way between the loops when they end."""
    sink = sinks({"EOD": Silence()})
    server = greenarrow(route=sink, general="stop_timeout 1s", workers=4, retry="retry_schedule 1h", everywhere="reuse_connections yes")
    for _ in range(4):
        server.submit(recipients=[f"a@d{number}.example" for number in range(40)])
        wait_connections(server, lambda found: len(found) >= 40)
        ended = threading.Event()

        def keep_asking(server=server, ended=ended):
            while not ended.is_set():
                try:
                    server_list(server)
                    server.control("close_connection", id=1 << 40)
                except (OSError, AssertionError):
                    pass

        threads = [threading.Thread(target=keep_asking) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            time.sleep(0.2)
            server.stop()
        finally:
            ended.set()
            for thread in threads:
                thread.join()
        server.start()
