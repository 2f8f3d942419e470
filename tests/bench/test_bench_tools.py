#!/usr/bin/python3
"""The load generator and the sink count truly: nothing lost, nothing twice, every octet as it was sent.

Run by `make check` (as a program) or by pytest. The programs are looked for in $top_builddir, $GA_BUILD, or the tree.
"""

import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time

try:
    import pytest
except ImportError:
    print("pytest is not installed")
    sys.exit(77)

HERE = pathlib.Path(__file__).resolve().parent
SAMPLES = sorted((HERE.parent / "samples").glob("*.eml"))
sys.path.insert(0, str(HERE))
from tools import Tools  # noqa: E402


@pytest.fixture
def tools():
    try:
        found = Tools(os.environ.get("top_builddir"))
    except FileNotFoundError as error:
        pytest.skip(str(error))
    yield found
    found.kill_sinks()


def ids_of(path):
    return [line.split()[0] for line in path.read_text().splitlines()]


def on_the_wire(octets):
    """What SMTP carries of a file: CRLF line ends, and one at the end."""
    octets = re.sub(rb"\r?\n", b"\r\n", octets)
    return octets if octets.endswith(b"\r\n") else octets + b"\r\n"


@pytest.mark.parametrize("pipelining", ["no", "yes", "chain"])
@pytest.mark.parametrize("per_connection", [0, 7])
def test_nothing_is_lost_or_doubled(tools, tmp_path, pipelining, per_connection):
    sink = tools.start_sink(f"--ids-log={tmp_path}/ids")
    sent = tools.send(sink.port, "--messages=3000", "--sessions=15", f"--pipelining={pipelining}", "--recipients=3", "--domains=5",
                      f"--per-connection={per_connection}", f"--acked-log={tmp_path}/acked", "--run-id=r")
    got = sink.stop()
    assert (sent["accepted"], sent["failed"], sent["unknown"]) == (3000, 0, 0)
    assert (got["messages"], got["recipients"], got["aborted"], got["bad_commands"]) == (3000, 9000, 0, 0)
    acked = ids_of(tmp_path / "acked")
    assert sorted(acked) == [f"r-{n:010}" for n in range(3000)]
    lines = (tmp_path / "ids").read_text().splitlines()
    assert len(lines) == len(set(lines)) == 9000
    assert {line.rpartition("@")[2] for line in lines} == {f"d{n}.test" for n in range(5)}
    assert set(ids_of(tmp_path / "ids")) == set(acked)
    assert got["peak_open"] <= 15
    if per_connection:
        assert got["most_messages_a_connection"] == per_connection


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_every_octet_arrives(tools, tmp_path, sample):
    sink = tools.start_sink(f"--dump={tmp_path}/mail")
    tools.send(sink.port, "--messages=2", "--sessions=1", f"--message-file={sample}", "--run-id=r", "--to=a@b.test")
    sink.stop()
    for n in range(2):
        stored = (tmp_path / f"mail/{n + 1:08}.eml").read_bytes()
        assert stored == b"X-Bench-Id: r-%010d\r\n" % n + on_the_wire(sample.read_bytes())
        envelope = json.loads((tmp_path / f"mail/{n + 1:08}.json").read_text())
        assert envelope["id"] == f"r-{n:010}" and envelope["rcpt"] == ["a@b.test"]
        assert ("BODY=8BITMIME" in envelope["mail"]) == any(octet > 127 for octet in sample.read_bytes())


def test_octets_in_pieces_of_any_size(tools, tmp_path):
    """The end is found, and only the end, however the bytes are cut; a bare LF or CR around a dot is content."""
    content = b"Subject: x\r\n\r\n..\r\n...\r\n.\n.\r.\r\r\n.a\r\n\n.\n\r\n.\r.\r\n\r.\r\nend \xff\x00\r\n"
    stuffed = re.sub(rb"(?m)(?:\A|(?<=\r\n))\.", b"..", content) + b".\r\n"
    sink = tools.start_sink(f"--dump={tmp_path}/mail")
    for piece in (1, 2, 3, 5, len(stuffed)):
        with socket.create_connection(("127.0.0.1", sink.port)) as conn:
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            replies = conn.makefile("rb")
            replies.readline()
            for command, code in ((b"HELO x", b"250"), (b"MAIL FROM:<>", b"250"), (b"RCPT TO:<a@b>", b"250"), (b"DATA", b"354")):
                conn.sendall(command + b"\r\n")
                assert replies.readline().startswith(code)
            for at in range(0, len(stuffed), piece):
                conn.sendall(stuffed[at:at + piece])
                time.sleep(0.0005)
            assert replies.readline().startswith(b"250")
    assert sink.stop()["messages"] == 5
    for path in (tmp_path / "mail").glob("*.eml"):
        assert path.read_bytes() == content


@pytest.mark.parametrize("size", [600, 4096, 1000003])
def test_size_is_exact(tools, tmp_path, size):
    sink = tools.start_sink(f"--dump={tmp_path}/mail")
    sent = tools.send(sink.port, f"--size={size}", "--messages=2", "--sessions=2")
    assert sink.stop()["bytes"] == 2 * size and sent["message_size"] == size
    assert all(path.stat().st_size == size for path in (tmp_path / "mail").glob("*.eml"))


@pytest.mark.parametrize("stage", ["mail", "rcpt", "data", "eom"])
@pytest.mark.parametrize("pipelining", ["no", "yes", "chain"])
def test_refusals_have_their_share_and_are_counted_by_code(tools, stage, pipelining):
    sink = tools.start_sink("--defer-percent=40", "--fail-percent=10", f"--reply-at={stage}")
    sent = tools.send(sink.port, "--messages=1000", f"--pipelining={pipelining}", check=False)
    got = sink.stop()
    assert (sent["accepted"], sent["failed"], sent["unknown"]) == (500, 500, 0)
    assert {key: value["count"] for key, value in sent["failures"].items()} == {f"451 {stage}": 400, f"550 {stage}": 100}
    assert (got["messages"], got["deferred"], got["failed"]) == (500, 400, 100)


def test_a_421_ends_the_connection_and_costs_one_message(tools):
    sink = tools.start_sink("--defer-percent=10", "--defer-reply=421 4.3.2 Going down")
    sent = tools.send(sink.port, "--messages=500", "--sessions=5", "--retry=1ms", check=False)
    sink.stop()
    assert (sent["accepted"], sent["failed"], sent["unknown"]) == (450, 50, 0)
    assert sent["connections"] > 50


def test_an_acknowledged_message_is_in_the_sinks_log_after_kill_9(tools, tmp_path):
    sink = tools.start_sink(f"--ids-log={tmp_path}/ids")
    source = subprocess.Popen([tools.source, "--json", "--duration=3", "--retry=50ms", f"--acked-log={tmp_path}/acked",
                               f"--unknown-log={tmp_path}/unknown", f"127.0.0.1:{sink.port}"], stdout=subprocess.PIPE, text=True)
    time.sleep(1.5)
    sink.process.kill()
    sink.process.wait()
    sent = json.loads(source.communicate(timeout=30)[0])
    acked, unknown, arrived = (ids_of(tmp_path / name) for name in ("acked", "unknown", "ids"))
    assert sent["accepted"] == len(acked) > 0 and sent["unknown"] == len(unknown) <= 20
    assert len(arrived) == len(set(arrived))
    assert set(acked) <= set(arrived) <= set(acked) | set(unknown)
    assert sent["failures"]["connect"]["count"] > 0


def test_starttls(tools, tmp_path):
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", tmp_path / "key.pem", "-out",
                    tmp_path / "cert.pem", "-days", "2", "-subj", "/CN=sink.test"], check=True, capture_output=True)
    sink = tools.start_sink(f"--tls-cert={tmp_path}/cert.pem", f"--tls-key={tmp_path}/key.pem", f"--dump={tmp_path}/mail")
    sent = tools.send(sink.port, "--starttls", "--messages=200", "--sessions=4", "--size=150000", "--pipelining=chain")
    got = sink.stop()
    assert sent["accepted"] == got["messages"] == 200 and got["tls_sessions"] == 4
    assert json.loads((tmp_path / "mail/00000001.json").read_text())["tls"] is True


def test_starttls_that_is_not_offered_sends_nothing(tools):
    sink = tools.start_sink()
    sent = tools.send(sink.port, "--starttls", "--messages=10", "--timeout=1s", check=False)
    assert sent["accepted"] == 0 and sent["failures"]["starttls"]["count"] > 0
    assert sink.stop()["messages"] == 0


@pytest.mark.parametrize("stage", ["connect", "ehlo", "mail", "rcpt", "data", "eom"])
def test_a_delayed_reply_comes_late_and_in_order(tools, stage):
    sink = tools.start_sink("--delay=100ms", f"--delay-at={stage}")
    started = time.monotonic()
    sent = tools.send(sink.port, "--messages=6", "--sessions=2", "--pipelining=chain")
    assert sent["accepted"] == 6
    assert time.monotonic() - started >= (0.1 if stage in ("connect", "ehlo") else 0.3)
    assert sink.stop()["bad_commands"] == 0


def test_many_listeners_and_source_addresses(tools):
    sink = tools.start_sink("--listen=127.0.0.1:0", "--listen=127.0.0.3:0", "--listen=[::1]:0")
    tools.send(sink.port, "--messages=100", "--sessions=10", "--source=127.0.0.21-127.0.0.25")
    got = sink.stop()
    assert len(got["listeners"]) == 3
    assert {client: of["connections"] for client, of in got["clients"].items()} == {f"127.0.0.{n}": 2 for n in range(21, 26)}


def test_connections_past_the_limit_get_421(tools):
    sink = tools.start_sink("--max-connections=3")
    sent = tools.send(sink.port, "--messages=300", "--sessions=6", "--retry=20ms")
    got = sink.stop()
    assert sent["accepted"] == 300 and sent["failures"]["421 banner"]["count"] == got["refused_connections"] > 0
    assert got["peak_open"] == 3


def test_a_server_that_says_nothing_is_given_up(tools):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        sent = tools.send(silent.getsockname()[1], "--messages=5", "--timeout=1s", check=False)
    assert time.monotonic() - started < 10
    assert sent["accepted"] == 0 and "timeout" in sent["failures"]


def test_usr1_and_term_print_figures(tools):
    sink = tools.start_sink()
    tools.send(sink.port, "--messages=50")
    assert sink.figures()["messages"] == 50
    tools.send(sink.port, "--messages=25")
    assert sink.stop()["messages"] == 75
    assert sink.process.returncode == 0


@pytest.mark.parametrize("arguments", [["--no-such-option"], ["--sessions=0", "127.0.0.1:1"], ["--size=3XB", "127.0.0.1:1"],
                                       [], ["--pipelining=maybe", "127.0.0.1:1"], ["nowhere"]])
def test_wrong_usage_is_2(tools, arguments):
    done = subprocess.run([tools.source, *arguments], capture_output=True, text=True, timeout=10)
    assert done.returncode == 2 and done.stderr and not done.stdout


def test_help_has_the_shape_of_the_house(tools):
    for program in (tools.source, tools.sink):
        done = subprocess.run([program, "--help"], capture_output=True, text=True, timeout=10)
        assert done.returncode == 0
        assert done.stdout.startswith(f"{program}: Usage:\n  {program.name} [ARGUMENTS]")
        assert "\nApplication Options:\n" in done.stdout and done.stdout.rstrip().endswith("Show this help message")


if __name__ == "__main__":
    sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", __file__]))
