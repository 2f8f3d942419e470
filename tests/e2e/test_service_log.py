"""Log directories: files as multilog keeps them, limits, a disk that is full, crashes, and the lines about delivery."""

import os
import re
import signal
import subprocess
import threading
import time

import pytest

from gatest import daemon, disk
from gatest.badsink import Default

STAMP = r"@4[0-9a-f]{23} "
OWN = re.compile(STAMP + r"(info|notice|warn) \w+: .* \[GA-\w+-\w+\]")
DELIVERY = [re.compile(STAMP + "remote_limiter: " + rest) for rest in (
    r"active=\d+ backlog\(ram=\d+ bounce=\d+ disk=\d+\)",
    r"request processor: total=\d+ concurrency=\d+/\d+ throttle=\d+ tcpconn=\d+ smtpconn=\d+ hello=\d+ tls=\d+ auth=\d+ "
    r"from=\d+ rcpt=\d+ data=\d+ read=\d+ write=\d+ quit=\d+ cachedconn=\d+",
    r"request processor: (\d+) sent; sending \d+\.\d\d MM; success (\d+\.\d\d)%; deferral (\d+\.\d\d)%; failure (\d+\.\d\d)%",
    r"dns cache: num_lookups=(\d+) num_resolves=(\d+) avg_resolve_query_time_ms=\d+")]
DROPPED = re.compile(STAMP + r"service_log: (\d+) lines were dropped here, there was no room for them")
BUSY = "service_log_status 1ms"         # some thousand lines a second


def wait_for(condition, what, timeout=20):
    end = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < end, what() if callable(what) else what
        time.sleep(0.02)
    return found


def files(folder):
    """From the oldest on, `current` last."""
    return sorted(path for path in folder.iterdir() if path.name[0] == "@" or path.name == "current")


def lines(folder):
    return "".join(path.read_text() for path in files(folder)).splitlines()


def status_of(server, name):
    return next((entry for entry in server.status()["log_directories"] if entry["name"] == name), None)


def is_whole(line):
    return any(pattern.fullmatch(line) for pattern in (*DELIVERY, DROPPED))


def test_the_daemons_own_log_is_in_its_directory_from_the_first_line_to_the_last(greenarrow, sink):
    server = greenarrow(route=sink)
    server.stop()
    own = server.folder / "log" / "greenarrow"
    written = lines(own)
    assert written and all(OWN.fullmatch(line) for line in written), written
    assert " is ready" in written[0] and written[-1].endswith("notice core: stopped [GA-STOP-0003]")
    assert (own / "current").stat().st_mode & 0o7777 == 0o744
    assert own.stat().st_mode & 0o777 == 0o750
    said = [line.split(" ", 1)[1] for line in server.log_text().splitlines() if "[GA-" in line]
    assert [line.split(" ", 1)[1] for line in written] == said


def test_in_the_background_the_log_is_in_the_directory_alone(greenarrow, sink):
    server = greenarrow(start=False, route=sink)
    done = subprocess.run([str(daemon.program("greenarrowd")), f"--config-filename={server.config}"], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=open(server.log, "wb"), env=daemon.environment(), timeout=60)
    assert done.returncode == 0
    pid = int((server.folder / "run" / "greenarrowd.pid").read_text())
    try:
        assert server.run("greenarrow_config", "reload").returncode == 0
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"), "it does not end")
    written = lines(server.folder / "log" / "greenarrow")
    assert [re.search(r"\[(.*)\]$", line)[1] for line in written] == ["GA-CORE-0001", "GA-RLD-0001", "GA-STOP-0001", "GA-STOP-0003"]
    assert re.findall(r"\[(GA-.*)\]", server.log_text()) == ["GA-CORE-0001"]


def test_a_start_that_fails_is_in_the_log_too(greenarrow, sink):
    server = greenarrow(start=False, route=sink, listen=["192.0.2.77:2525"])        # an address that no machine has
    server.expect_log("192.0.2.77")
    server.spawn()
    assert server.process.wait(30) == 1
    server.exit_checked = True
    assert [line for line in lines(server.folder / "log" / "greenarrow") if " error " in line and "192.0.2.77" in line]


def test_the_module_may_come_with_a_reload(greenarrow, sink):
    others = [name for name in daemon.present_modules() if not name.endswith("_log")]       # the others write to it
    server = greenarrow(route=sink, modules=others)
    server.submit()
    sink.wait_messages(1)
    server.wait_empty()
    server.change(modules=[*others, "service_log"], general="service_log_status 50ms")
    assert server.run("greenarrow_config", "reload").returncode == 0
    folder = server.folder / "log" / "rspawn-limiter"
    wait_for(lambda: folder.exists() and any(" 0 sent; sending 0.00 MM; success 0.00%" in line for line in lines(folder)), "there are no lines")
    assert not any(" 1 sent" in line for line in lines(folder)), "what was before the module is none of its interval"
    server.stop()
    assert [re.search(r"\[(.*)\]$", line)[1] for line in lines(server.folder / "log" / "greenarrow")] == ["GA-RLD-0001", "GA-STOP-0001", "GA-STOP-0003"]


def test_lines_about_delivery_have_the_numbers_of_status(greenarrow, sinks):
    asked, answered = threading.Event(), threading.Event()

    def reply_to_rcpt(session, line):
        if b"slow@" in line:
            asked.set()
            answered.wait(30)
        return "450 4.2.1 later" if b"later@" in line else "550 5.1.1 no" if b"no@" in line else Default()

    sink = sinks({"RCPT": reply_to_rcpt})
    server = greenarrow(route=sink, general="service_log_status 100ms\nsystem_max_smtp_connections 77", retry="retry_schedule 1h")
    folder = server.folder / "log" / "rspawn-limiter"
    server.submit(recipients=["slow@receiver.example"])
    assert asked.wait(20)
    wait_for(lambda: any(" active=1 backlog(ram=1 bounce=0 disk=0)" in line for line in lines(folder)), "the attempt is not seen")
    wait_for(lambda: any(re.search(r" total=1 concurrency=1/77 throttle=0 tcpconn=0 .* rcpt=1 .* cachedconn=0", line) for line in lines(folder)),
             "the connection is not seen")
    answered.set()
    for recipient in ("b", "later", "no"):
        server.submit(recipients=[f"{recipient}@receiver.example"])

    def results():
        found = [DELIVERY[2].fullmatch(line) for line in lines(folder)]
        return [sum(round(int(match[1]) * float(match[i]) / 100) for match in found if match) for i in (2, 3, 4)]

    wait_for(lambda: results() == [2, 1, 1], lambda: f"{results()}:\n" + "\n".join(lines(folder)))
    wait_for(lambda: backlog(lines(folder))[-1] == (0, 0, 0, 1), lambda: str(backlog(lines(folder))))
    server.stop()
    written = lines(folder)
    assert [line for line in written if not is_whole(line)] == []
    assert not any(re.search(r" \([0-9]*\) ", line) for line in written), "taken for a line of an SMTP session"
    assert re.fullmatch(r".* total=0 concurrency=0/77 throttle=0( \w+=0){12}", [line for line in written if " total=" in line][-1])


def backlog(written):
    """(active, ram, bounce, disk) of each line that has them."""
    found = (re.search(r"active=(\d+) backlog\(ram=(\d+) bounce=(\d+) disk=(\d+)\)", line) for line in written)
    return [tuple(map(int, match.groups())) for match in found if match]


def test_limits_of_a_directory_come_from_logconfig_and_hold_after_a_reload(greenarrow, sink):
    server = greenarrow(route=sink, general=f"{BUSY}\nservice_log_max_files 50\nservice_log_max_size 5000")
    folder = server.folder / "log" / "rspawn-limiter"
    wait_for(lambda: len(files(folder)) > 5, "nothing is rotated")
    assert max(path.stat().st_size for path in files(folder)) <= 5000
    limits = server.folder / "control" / "logconfig.multilog"
    limits.write_text('RSPAWN_LIMITER="n4 s1"\n')
    for command in ("validate", "reload"):
        refused = server.run("greenarrow_config", command)
        assert refused.returncode == 1 and f"{limits}:1:20: `s1`: is not s and a number from 4096 to 2147483647" in refused.stderr + refused.stdout
    server.expect_log("reload refused")
    limits.write_text('POSTGRES n7\nRSPAWN_LIMITER="n4 s8192"\n')
    reloaded = server.run("greenarrow_config", "reload")
    assert reloaded.returncode == 0, reloaded.stderr
    wait_for(lambda: len(files(folder)) == 4 and min(path.stat().st_size for path in files(folder)[:-1]) > 5000, lambda: str(files(folder)))
    status = status_of(server, "rspawn-limiter")
    assert (status["max_size"], status["max_files"]) == (8192, 4) and status["rotations_total"] >= 8
    assert (status_of(server, "greenarrow")["max_size"], status_of(server, "greenarrow")["max_files"]) == (5000, 50)
    server.stop()
    assert len(files(folder)) == 4 and max(path.stat().st_size for path in files(folder)) <= 8192
    assert all(is_whole(line) for line in lines(folder))


def test_kill_9_under_load_tears_at_most_the_last_line(greenarrow, sink):
    server = greenarrow(route=sink, general=f"{BUSY}\nservice_log_max_files 1000000\nservice_log_max_size 8192")
    folder = server.folder / "log" / "rspawn-limiter"
    for life in range(3):
        status = wait_for(lambda: (found := status_of(server, "rspawn-limiter"))["rotations_total"] > 3 and found, "nothing is rotated")
        written = len(lines(folder))
        server.kill()
        assert len(lines(folder)) >= written >= status["lines_total"]
        server.start()
    server.stop()
    for path in files(folder):
        text = path.read_text()
        whole, _, rest = text.rpartition("\n")
        assert all(is_whole(line) for line in whole.splitlines()), path
        assert not rest or path.suffix == ".u", f"torn: {path}"
        assert len(text) <= 8192
    assert sum(path.suffix == ".u" for path in files(folder)) == 3


@pytest.fixture
def log_disk(tmp_path):
    with disk.small(tmp_path / "disk", "6m") as folder:
        yield folder


@pytest.fixture
def server_on_log_disk(log_disk, greenarrow, sink):
    """A daemon that is stopped before the disk of its logs is taken away."""
    server = greenarrow(start=False, route=sink, general=f"{BUSY}\nservice_log_memory 64KiB\nservice_log_max_files 1000000\nservice_log_max_size 32KiB")
    server.write_config(server.config.read_text().replace(f"log_directory {server.folder}/log", f"log_directory {log_disk}"))
    return server


def test_a_full_log_disk_tears_no_line_loses_what_is_counted_and_holds_up_no_mail(log_disk, server_on_log_disk, sink):
    server, folder = server_on_log_disk, log_disk / "rspawn-limiter"
    ballast = disk.fill(log_disk, leave=150_000)
    server.start()
    wait_for(lambda: status_of(server, "rspawn-limiter")["dropped_total"] > 500, "the disk is not full")
    for _ in range(20):
        server.submit()
    sink.wait_messages(20)
    server.wait_empty()
    assert "rspawn-limiter IS NOT WRITTEN (write current)" in server.run("greenarrow", "status").stdout
    assert len(re.findall("log/rspawn-limiter is not written: write current: No space left on device; .*GA-SLOG-0001", server.log_text())) == 1
    ballast.unlink()
    wait_for(lambda: status_of(server, "rspawn-limiter")["trouble"] == "", "it is not written again")
    server.write_config(server.config.read_text().replace(BUSY, "service_log_status 0"))
    assert server.run("greenarrow_config", "reload").returncode == 0
    status = wait_for(lambda: (found := status_of(server, "rspawn-limiter"))["waiting_bytes"] == 0 and found, "lines wait")
    server.stop()
    written = lines(folder)
    assert [line for line in written if not is_whole(line)] == []
    assert sum(int(match[1]) for match in map(DROPPED.fullmatch, written) if match) == status["dropped_total"]
    assert len(written) == status["lines_total"]
    said = lines(log_disk / "greenarrow")
    assert sum("log/rspawn-limiter is written again" in line for line in said) == 1 and said[-1].endswith("[GA-STOP-0003]")
