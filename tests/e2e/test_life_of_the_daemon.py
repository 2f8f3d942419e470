"""Start, status, reload and stop; and that what keeps the daemon from starting is one clear line."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import time

import pytest

from gatest import corpus, daemon, need, ports
from gatest.badsink import Default, Delay


def refused_start(server):
    """Run the daemon until it ends; its exit code and what it said."""
    server.spawn()
    code = server.process.wait(30)
    server.exit_checked = True
    server.checked_to = len(server.log_text())
    lines = [line for line in server.log_text().splitlines() if "warning" not in line]
    assert not daemon.SANITIZER.search(server.log_text()), server.log_text()
    return code, lines


def test_a_port_in_use_is_one_clear_line(greenarrow, sink):
    server = greenarrow(route=sink, start=False)
    with socket.create_server((server.host, server.port)):
        code, lines = refused_start(server)
    assert code == 1 and len(lines) == 1, lines
    assert f"{server.host}:{server.port}" in lines[0] and "in use" in lines[0].lower()


def test_a_missing_user_is_one_clear_line(greenarrow, sink):
    need.root()
    server = greenarrow(route=sink, start=False, general="run_as_user no-such-user-here")
    code, lines = refused_start(server)
    assert code == 1 and len(lines) == 1, lines
    assert "run_as_user" in lines[0] or "no-such-user-here" in lines[0]


@pytest.mark.parametrize("which", ["queue", "run"])
def test_a_directory_that_is_missing_is_one_clear_line(greenarrow, sink, which):
    server = greenarrow(route=sink, start=False)
    server.write_config(server.config.read_text().replace(f"{which}_directory {server.folder}/{which}", f"{which}_directory {server.folder}/none/{which}"))
    code, lines = refused_start(server)
    assert code == 1 and len(lines) == 1, lines
    assert f"{server.folder}/none/{which}" in lines[0]


@pytest.mark.parametrize("which", ["queue", "run"])
def test_a_directory_that_cannot_be_written_is_one_clear_line(greenarrow, sink, which):
    """As root nothing is unwritable, so the daemon runs as another user here; what belongs to root it would take over."""
    need.root()
    server = greenarrow(route=sink, start=False, general="run_as_user nobody")
    for name in ("queue", "log", "run", "control"):
        os.chown(server.folder / name, 65534, 65534)
    (server.folder / which).chmod(0o755)
    os.chown(server.folder / which, 1, 1)
    code, lines = refused_start(server)
    assert code == 1 and len(lines) == 1, lines
    assert f"{server.folder}/{which}" in lines[0]


def test_a_second_daemon_on_the_same_queue_is_refused(greenarrow, sink):
    first = greenarrow(route=sink)
    second = greenarrow(route=sink, start=False)
    second.write_config(second.config.read_text().replace(f"queue_directory {second.folder}/queue", f"queue_directory {first.folder}/queue"))
    code, lines = refused_start(second)
    assert code == 1 and any(str(first.folder / "queue") in line for line in lines), lines
    first.submit()
    sink.wait_messages(1)


def test_started_as_root_it_drops_to_its_user_and_keeps_only_the_right_to_bind(greenarrow, sink):
    need.root()
    server = greenarrow(route=sink, start=False, general="run_as_user nobody")
    for name in ("queue", "log", "run", "control"):
        os.chown(server.folder / name, 65534, 65534)
    server.extra_environment = {"ASAN_OPTIONS": "detect_leaks=0"}       # a leak check needs ptrace, which the drop takes away
    server.start()
    status = pathlib.Path(f"/proc/{server.pid}/status").read_text()
    assert re.search(r"(?m)^Uid:\s+65534\s+65534\s+65534\s+65534$", status)
    for kind in ("CapPrm", "CapEff"):
        kept = int(re.search(rf"(?m)^{kind}:\s+(\w+)$", status)[1], 16)
        assert kept & ~(1 << 10) == 0, f"{kind} {kept:x}: more than CAP_NET_BIND_SERVICE"
    for task in pathlib.Path(f"/proc/{server.pid}/task").iterdir():
        assert re.search(r"(?m)^Uid:\s+65534\s", (task / "status").read_text()), "every thread has to be dropped"
    server.submit()
    sink.wait_messages(1)


def test_a_graceful_stop_lets_a_delivery_in_progress_end(greenarrow, sinks):
    sink = sinks({"EOD": [Delay(2), Default()]})
    server = greenarrow(route=sink)
    server.submit()
    sink.wait_for(lambda: sink.attempts)
    server.stop()
    assert len(sink.messages) == 1
    server.start()
    time.sleep(1)
    assert server.queue()["envelopes"] == 0 and len(sink.attempts) == 1


def test_a_stop_ends_within_stop_timeout_whatever_a_receiver_does(greenarrow, sinks):
    sink = sinks({"EOD": [Delay(60), Default()]})
    server = greenarrow(route=sink, general="stop_timeout 2s", retry="retry_schedule 1s")
    server.submit()
    sink.wait_for(lambda: sink.attempts)
    started = time.monotonic()
    server.stop()
    assert time.monotonic() - started < 10
    server.start()
    server.wait_queue(envelopes=1)        # what was not answered is kept


def test_a_stop_tells_idle_sessions_and_lets_a_transaction_end(greenarrow, sink):
    server = greenarrow(route=sink)
    idle, busy = server.client(), server.client()
    idle.ehlo(), busy.ehlo()
    busy.envelope()
    assert busy.cmd("DATA").code == 354
    server.process.send_signal(signal.SIGTERM)
    reply = idle.reply()
    assert (reply.code, reply.enhanced) == (421, "4.3.2") and idle.closed_by_server()
    busy.send(corpus.stuffed(corpus.simple()))
    accepted = busy.reply()
    assert accepted.code in (250, 421, 451)
    server.process.wait(40)
    server.check()
    server.start()
    if accepted.code == 250:
        sink.wait_messages(1)
    server.wait_empty()
    assert len(sink.messages) == (1 if accepted.code == 250 else 0)


def test_status_shows_one_screen(greenarrow, sinks):
    sink = sinks({"RCPT": "450 4.2.0 later"})
    server = greenarrow(route=sink, retry="retry_schedule 1h")
    server.submit()
    server.wait_queue(disk=1)
    done = server.run("greenarrow", "status")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert len(done.stdout.splitlines()) <= 24
    assert re.search(rf"pid {server.pid}\b", done.stdout) and re.search(r"queue\s+1 messages, 1 envelopes: ram 0, bounce 0, disk 1", done.stdout), done.stdout
    document = json.loads(server.run("greenarrow", "status", "--json").stdout)
    assert daemon.find(document, "pid") == server.pid and daemon.find(document, "queue")["disk"] == 1


def test_status_without_a_daemon_says_so_and_ends_with_1(greenarrow, sink):
    server = greenarrow(route=sink, start=False)
    done = server.run("greenarrow", "status")
    assert done.returncode == 1 and "not running" in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", ["greenarrowd", "greenarrow", "greenarrow_config"])
def test_programs_tell_version_and_usage(name):
    program = str(daemon.program(name))
    version = subprocess.run([program, "--version"], capture_output=True, text=True, env=daemon.environment())
    assert version.returncode == 0 and re.search(r"\d+\.\d+", version.stdout)
    help_text = subprocess.run([program, "--help"], capture_output=True, text=True, env=daemon.environment())
    assert help_text.returncode == 0 and "Usage:" in help_text.stdout and "Help Options:" in help_text.stdout
    wrong = subprocess.run([program, "--no-such-option"], capture_output=True, text=True, env=daemon.environment())
    assert wrong.returncode == 2 and wrong.stderr and not wrong.stdout


# Reload.

def reload(server):
    return server.run("greenarrow_config", "reload")


def test_a_reload_acts_on_queued_mail_at_its_next_attempt(greenarrow, sinks):
    nowhere, sink = sinks({"RCPT": "450 4.2.0 later"}), sinks()
    server = greenarrow(route=nowhere, retry="retry_schedule 2s")
    server.submit()
    server.wait_queue(disk=1)
    server.change(route=sink)
    done = reload(server)
    assert done.returncode == 0, done.stderr
    sink.wait_messages(1)
    server.wait_empty()


def test_sighup_reloads_too(greenarrow, sinks):
    first, second = sinks(), sinks()
    server = greenarrow(route=first)
    server.change(route=second)
    server.process.send_signal(signal.SIGHUP)
    end = time.monotonic() + 20
    while not second.messages and time.monotonic() < end:
        server.submit()
        time.sleep(0.3)
    assert second.messages


def test_a_bad_file_changes_nothing_and_says_why(greenarrow, sink):
    server = greenarrow(route=sink)
    server.expect_log(r"startls_use|reload|refused|configuration")
    good = server.config.read_text()
    server.write_config(good + "ip_address * {\n  startls_use yes\n}\n")
    done = reload(server)
    assert done.returncode == 1 and "startls_use" in done.stderr
    server.process.send_signal(signal.SIGHUP)
    server.wait_log(r"startls_use")
    server.submit()
    sink.wait_messages(1)
    server.write_config(good)
    assert reload(server).returncode == 0


def test_a_reload_opens_and_closes_listeners_and_keeps_sessions(greenarrow, sink):
    extra, other = ports.free_port(), ports.free_port()
    server = greenarrow(route=sink, listen=[f"127.0.0.1:{extra}"])
    from gatest import smtp
    with smtp.Smtp(("127.0.0.1", extra)) as session:
        session.ehlo()
        server.change(listen=[f"127.0.0.1:{other}"])
        assert reload(server).returncode == 0
        assert smtp.submit(("127.0.0.1", other), corpus.simple()).code == 250
        end = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", extra), timeout=1).close()
            except ConnectionRefusedError:
                break
            assert time.monotonic() < end, "the listener that was taken out still accepts"
            time.sleep(0.1)
        session.envelope()
        assert session.data(corpus.simple()).code == 250, "an open session goes on over a reload"
    sink.wait_messages(2)


def test_a_reload_to_a_port_in_use_changes_nothing(greenarrow, sink):
    server = greenarrow(route=sink)
    server.expect_log(r"in use")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server.change(listen=[f"127.0.0.1:{taken.getsockname()[1]}"])
        done = reload(server)
    assert done.returncode == 1 and str(taken) and "in use" in done.stderr.lower(), done.stderr
    server.submit()
    sink.wait_messages(1)


def test_a_changed_setting_that_needs_a_restart_is_told_by_the_reload(greenarrow, sink):
    server = greenarrow(route=sink)
    server.change(workers=3)
    done = reload(server)
    assert done.returncode == 0 and re.search(r"greenarrow.conf:\d+: workers takes effect at the next start", done.stderr), done
    server.submit()
    sink.wait_messages(1)
    assert reload(server).returncode == 0


def test_a_module_may_come_with_a_reload(greenarrow, sinks):
    """What had failed without module bounce is reported once it is there."""
    sink = sinks({"RCPT": lambda session, line: Default() if b"sender.example" in line else "550 5.1.1 no"})
    server = greenarrow(route=sink, retry="retry_schedule 1h")
    server.submit()
    server.wait_queue(failed=1)
    server.change(bounce=True)
    done = server.run("greenarrow_config", "reload")
    assert done.returncode == 0 and "next start" not in done.stderr, done
    assert sink.wait_messages(1)[0].sender == ""
    server.wait_empty()


def test_a_module_that_holds_mail_or_connections_does_not_go_with_a_reload(greenarrow, sink):
    server = greenarrow(route=sink, bounce=True)
    server.expect_log("does not load this module|reload refused")
    whole = server.config.read_text()
    for module in ("bounce", "queue", "spool", "smtp_client", "throttle", "route", "transport_direct"):
        server.write_config(whole.replace(f"load_module {module}\n", ""))
        done = server.run("greenarrow_config", "reload")
        assert done.returncode == 1, f"{module}: {done}"
        server.submit()
    sink.wait_messages(7)
    server.wait_empty()


def test_reloads_under_load_lose_repeat_and_refuse_nothing(greenarrow, sink):
    server = greenarrow(route=sink, general="queue_lifetime 2d")
    accepted = 0
    for number in range(10):
        for _ in range(5):
            server.submit()
            accepted += 1
        server.change(general=f"queue_lifetime {number + 1}d")
        assert reload(server).returncode == 0
    server.wait_empty()
    assert len(sink.messages) == accepted


def test_a_reload_renews_the_certificate(greenarrow, sink, certificate, tmp_path):
    import ssl
    openssl = need.program("openssl", "openssl")
    server = greenarrow(route=sink, start=False, service="tls_certificate_files tls/cert.pem, tls/key.pem")
    folder = server.folder / "control" / "tls"
    folder.mkdir()

    def install(name):
        subprocess.run([openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", f"/CN={name}", "-out", str(folder / "cert.pem"),
                        "-keyout", str(folder / "key.pem")], check=True, capture_output=True)

    def served():
        with server.client() as client:
            client.ehlo()
            client.starttls()
            return ssl.DER_cert_to_PEM_cert(client.sock.getpeercert(True)).strip()

    install("one.example")
    server.start()
    assert served() == (folder / "cert.pem").read_text().strip()
    install("two.example")
    assert reload(server).returncode == 0
    assert served() == (folder / "cert.pem").read_text().strip()


# Damage.

def test_queue_check_reads_a_spool_offline(greenarrow, sinks):
    sink = sinks(listening=False)
    server = greenarrow(route=sink, retry="retry_schedule 1h")
    for _ in range(3):
        server.submit()
    server.wait_queue(disk=3)
    server.stop()
    done = server.run("greenarrow", "queue_check")
    assert done.returncode == 0, done.stderr
    assert re.search(r"\b3\b.*messages?", done.stdout), done.stdout


def test_a_damaged_record_is_set_aside_and_everything_around_it_is_delivered(greenarrow, sinks):
    sink = sinks(listening=False)
    server = greenarrow(route=sink, retry="retry_schedule 2s")
    for number in range(9):
        server.submit(b"Subject: damage\r\n\r\nmessage-number-%d\r\n" % number + b"x" * 2000 + b"\r\n")
    server.wait_queue(disk=9)
    server.kill()
    hit = False
    for segment in sorted((server.folder / "queue").rglob("*.seg")):
        octets = segment.read_bytes()
        at = octets.find(b"message-number-4\r\n")
        if at >= 0:
            with open(segment, "r+b") as file:
                file.seek(at)
                file.write(b"MESSAGE")
            hit = True
    assert hit, "the message is not in the spool in clear"
    server.expect_log(r"corrupt|damage|set aside")
    sink.open()
    server.start()
    sink.wait_messages(8, timeout=30)
    time.sleep(1)
    numbers = sorted(re.search(rb"message-number-(\d)", m.wire)[1] for m in sink.messages)
    assert numbers == [b"%d" % n for n in range(9) if n != 4]
    assert any((server.folder / "queue" / "corrupt").iterdir())
    server.wait_log(r"corrupt|damage|set aside")
