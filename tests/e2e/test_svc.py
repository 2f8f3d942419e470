"""Services as daemontools knows them: svc and svstat, Debian's and ours, on our service directories and on supervise's."""

import os
import random
import re
import socket
import subprocess
import time

import pytest

from gatest import corpus, daemon, need, ports, smtp


class Tools:
    """svc and svstat of one maker."""

    def __init__(self, svc, svstat):
        self.svc_path, self.svstat_path = str(svc), str(svstat)

    def run(self, path, *arguments):
        return subprocess.run([path, *map(str, arguments)], capture_output=True, text=True, timeout=30, env=daemon.environment())

    def svc(self, *arguments):
        done = self.run(self.svc_path, *arguments)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    def svstat(self, *directories):
        done = self.run(self.svstat_path, *directories)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout


def debians():
    return Tools(need.program("svc", "daemontools"), need.program("svstat", "daemontools"))


def ours():
    return Tools(daemon.program("svc"), daemon.program("svstat"))


def both():
    return (debians(), ours())


def until(condition, what, timeout=20):
    end = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < end, what()
        time.sleep(0.05)
    return value


def wait_stat(directory, pattern):
    """Until Debian's svstat says so; both say the same."""
    real, mine = both()
    until(lambda: re.fullmatch(f"{re.escape(str(directory))}: {pattern}\n", real.svstat(directory)),
          lambda: f"svstat says {real.svstat(directory)!r}, not {pattern!r}")
    assert re.fullmatch(f"{re.escape(str(directory))}: {pattern}\n", mine.svstat(directory))


def listens(port):
    try:
        with smtp.Smtp(("127.0.0.1", port), timeout=10) as client:
            return client.banner.code == 220
    except ConnectionRefusedError:
        return False


def wait_listens(port, wanted=True):
    until(lambda: listens(port) == wanted, lambda: f"port {port} does{' not' if wanted else ''} answer")


@pytest.fixture
def server(greenarrow, sink):
    """A daemon with a second service, smtp2, that has an environment file; `.directory` is its service directory."""
    one = greenarrow(start=False, route=sink)
    one.port2 = ports.free_port()
    one.environment_file = one.folder / "control" / "smtp2"
    one.environment_file.write_text("# PORT=587\n")
    one.change(top=f"smtp_service smtp2 {{\n  listen 127.0.0.1:{one.port2}\n  environment_file smtp2\n}}\n")
    one.services = one.folder / "service"
    one.directory = one.services / "hvmail-qmail-smtpd2"
    return one


def started(server):
    server.start()
    wait_stat(server.directory, rf"up \(pid {server.pid}\) \d+ seconds")
    return server


def said(server, word, times=1):
    server.wait_log(f"smtp_service smtp2: {word}", times=times)


def state(server):
    return {one["name"]: one["state"] for one in server.status()["smtp_services"]}


def test_t_reads_the_environment_anew_and_no_session_ends(server, sink):
    started(server)
    for times, tools in enumerate(both(), 1):
        before = server.port2
        server.port2 = ports.free_port()
        with smtp.Smtp(("127.0.0.1", before)) as client:
            client.ehlo()
            client.envelope()
            server.environment_file.write_text(f"export PORT={server.port2}\nexport GREENARROW_LOG_SMTP_COMMANDS=\n")
            tools.svc("-tu", server.directory)
            said(server, "restarted", times)
            assert client.data(corpus.simple()).code == 250, "the session goes on over the restart"
        assert listens(server.port2) and not listens(before) and listens(server.port)
        log = server.folder / "log" / "qmail-smtpd2" / "current"
        until(lambda: log.exists() and f"127.0.0.1:{server.port2}" in log.read_text(), server.tail)
        wait_stat(server.directory, rf"up \(pid {server.pid}\) \d seconds")
    sink.wait_messages(2)
    # the same address keeps its descriptor: nobody is refused
    server.environment_file.write_text(f"export PORT={server.port2}\nCONCURRENCY=1\n")
    failures = []
    tools.svc("-t", server.directory)
    while "restarted" not in server.log_text().split("restarted", 2)[-1]:
        failures += [] if listens(server.port2) else ["refused"]
    assert not failures
    with smtp.Smtp(("127.0.0.1", server.port2)), smtp.Smtp(("127.0.0.1", server.port2)) as second:
        assert second.banner.code == 421, "CONCURRENCY is in force"


def test_d_and_u_close_and_open_and_a_reload_does_not_bring_up(server, sink):
    started(server)
    with smtp.Smtp(("127.0.0.1", server.port2)) as client:
        client.ehlo()
        for times, tools in enumerate(both(), 1):
            tools.svc("-d", server.directory)
            said(server, "put down", times)
            assert not listens(server.port2) and listens(server.port)
            assert state(server) == {"smtp": "up", "smtp2": "down"}
            assert re.search(r"^services +smtp up, smtp2 down$", server.run("greenarrow", "status").stdout, re.MULTILINE)
            wait_stat(server.directory, r"down \d+ seconds, normally up")
            assert server.run("greenarrow_config", "reload").returncode == 0
            assert not listens(server.port2), "a reload brings up what was put down"
            tools.svc("-t", server.directory)
            tools.svc("-u", server.directory)
            said(server, "brought up", times)
            assert listens(server.port2)
            wait_stat(server.directory, rf"up \(pid {server.pid}\) \d+ seconds")
        client.envelope()
        assert client.data(corpus.simple()).code == 250, "the session goes on while its service is down"
    # once: until it is terminated
    tools.svc("-o", server.directory)
    tools.svc("-t", server.directory)
    said(server, "put down", 3)
    wait_stat(server.directory, r"down \d+ seconds, normally up")
    server.restart()
    assert listens(server.port2), "a start forgets what was put down"
    (server.directory / "down").touch()
    with socket.socket() as other:
        # not even bound: the port may be somebody else's
        server.stop()
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", server.port2))
        other.listen()
        server.start()
        wait_stat(server.directory, r"down \d+ seconds")
        server.expect_log("GA-SMTPD-0004")
        tools.svc("-u", server.directory)
        said(server, "not brought up: listen 127.0.0.1:.*: bind: Address already in use")
        wait_stat(server.directory, r"down \d+ seconds, want up")
    tools.svc("-u", server.directory)
    said(server, "brought up", 3)
    wait_stat(server.directory, rf"up \(pid {server.pid}\) \d+ seconds, normally down")
    assert listens(server.port2)


def test_a_broken_environment_file_leaves_the_listener_as_it_was(server):
    started(server)
    server.expect_log("GA-SMTPD-0015")
    server.environment_file.write_text(f"export PORT={server.port2}\nexport X=$(reboot)\n")
    debians().svc("-tu", server.directory)
    said(server, "not restarted, and goes on as it was: its settings are not good")
    server.wait_log(re.escape(f"{server.environment_file}:2:10: ") + ".*put it in 'quotes'")
    assert listens(server.port2) and state(server)["smtp2"] == "up"
    server.environment_file.write_text("ENABLED=0\n")
    ours().svc("-tu", server.directory)
    said(server, "restarted")
    assert not listens(server.port2) and state(server)["smtp2"] == "disabled"
    wait_stat(server.directory, r"down \d+ seconds, normally up, want up")
    server.environment_file.write_text("ENABLED=1\n")
    ours().svc("-t", server.directory)
    wait_listens(server.port2)


def write_to(fifo, octets):
    with open(fifo, "wb", buffering=0) as to:
        while octets:
            octets = octets[to.write(octets):]


def test_garbage_and_floods_in_the_fifo_do_no_harm(server):
    started(server)
    control = server.directory / "supervise" / "control"
    noise = bytes(set(range(256)) - set(b"udoth"))
    write_to(control, random.Random(24).choices(noise, k=300000) and bytes(random.Random(24).choices(noise, k=300000)))
    server.wait_log("smtp_service smtp2: ignored [0-9]+ octets")
    assert listens(server.port2)
    write_to(control, b"t" * 300000)
    begun = time.monotonic()
    server.status()
    assert time.monotonic() - begun < 5
    said(server, "restarted")
    write_to(control, b"du" * 150000)
    until(lambda: state(server)["smtp2"] == "up" and listens(server.port2), lambda: server.tail())
    debians().svc("-d", server.directory)
    wait_listens(server.port2, False)
    log = server.log_text()
    assert log.count("octets in supervise/control") <= 3 and log.count("smtp_service smtp2: restarted") < 10
    # not for us, and said to be so
    for letter in "pcaikx":
        debians().svc(f"-{letter}", server.directory)
    assert server.running and state(server)["smtp2"] == "down"


def test_a_directory_outlives_kill_9_and_has_one_master(server, greenarrow, sink):
    svok = need.program("svok", "daemontools")
    started(server)
    assert subprocess.run([svok, server.directory]).returncode == 0
    assert sorted(path.name for path in server.services.iterdir()) == ["hvmail-qmail-smtpd", "hvmail-qmail-smtpd2"]
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in (server.directory / "supervise").iterdir()}
    assert modes == {"control": "0o600", "ok": "0o600", "lock": "0o600", "status": "0o644"}
    assert len((server.directory / "supervise" / "status").read_bytes()) == 18
    second = greenarrow(start=False, route=sink)
    second.write_config(second.config.read_text().replace(f"{second.folder}/service", str(server.services)))
    second.start()
    second.wait_log("hvmail-qmail-smtpd/supervise/lock: another process supervises it")
    second.stop()
    server.kill()
    assert subprocess.run([svok, server.directory]).returncode == 100
    for tools in both():
        assert tools.svstat(server.directory) == f"{server.directory}: supervise not running\n"
        done = tools.run(tools.svc_path, "-t", server.directory)
        assert (done.returncode, done.stderr) == (0, f"svc: warning: unable to control {server.directory}: supervise not running\n")
    started(server)
    debians().svc("-t", server.directory)
    said(server, "restarted")


def test_directories_follow_the_configuration_and_h_reloads_it(server):
    started(server)
    port = ports.free_port()
    server.change(top=f"smtp_service Office {{\n  listen 127.0.0.1:{port}\n}}\n")
    debians().svc("-h", server.directory)
    server.wait_log("configuration reloaded")
    office = server.services / "hvmail-qmail-smtpd-office"
    wait_stat(office, rf"up \(pid {server.pid}\) \d+ seconds")
    wait_stat(server.directory, "supervise not running")
    ours().svc("-d", office)
    server.wait_log("smtp_service Office: put down")
    # what comes back comes back up
    top = server.settings.top
    for text in ("", top):
        server.change(top=text)
        assert server.run("greenarrow_config", "reload").returncode == 0
    wait_stat(office, rf"up \(pid {server.pid}\) \d+ seconds")
    assert listens(port)


@pytest.fixture
def supervised(tmp_path):
    """A service of the real supervise; `control` and what it wrote into `log`."""
    directory = tmp_path / "sleeper"
    directory.mkdir()
    run = directory / "run"
    run.write_text(f"#!/bin/sh\ntrap 'echo HUP >>{tmp_path}/log' HUP\necho run >>{tmp_path}/log\nwhile :; do sleep 0.1; done\n")
    run.chmod(0o755)
    (directory / "down").touch()
    process = subprocess.Popen([need.program("supervise", "daemontools"), str(directory)], stderr=subprocess.DEVNULL, start_new_session=True)
    directory_log = tmp_path / "log"
    yield directory, lambda: directory_log.read_text().split() if directory_log.exists() else []
    subprocess.run([need.program("svc", "daemontools"), "-dx", str(directory)])
    process.wait(20)


def test_our_programs_work_on_daemontools_services(supervised, tmp_path):
    directory, log = supervised
    real, mine = both()

    def agree(pattern):
        until(lambda: re.search(pattern, real.svstat(directory)), lambda: real.svstat(directory))
        until(lambda: real.svstat(directory) == mine.svstat(directory), lambda: mine.svstat(directory))

    agree(r"down \d+ seconds$")
    mine.svc("-u", directory)
    agree(r"up \(pid \d+\) \d+ seconds, normally down$")
    until(lambda: log() == ["run"], log)        # before that HUP ends it
    (directory / "down").unlink()
    agree(r"seconds$")
    mine.svc("-h", directory)
    until(lambda: "HUP" in log(), log)
    mine.svc("-p", directory)
    agree("seconds, paused$")
    mine.svc("-c", directory)
    agree("seconds$")
    first = real.svstat(directory).split()[3]
    mine.svc("-tu", directory)
    until(lambda: log().count("run") == 2, log)
    agree(r"up \(pid (?!%s)\d+\) \d+ seconds$" % re.escape(first.rstrip(")")))
    mine.svc("-d", directory)
    agree(r"down \d+ seconds, normally up$")
    # what goes wrong reads the same
    (tmp_path / "empty").mkdir()
    bad = tmp_path / "bad" / "supervise"
    bad.mkdir(parents=True)
    os.mkfifo(bad / "ok")
    (bad / "status").write_bytes(b"short")
    held = os.open(bad / "ok", os.O_RDWR)
    places = [tmp_path / "nowhere", tmp_path / "empty", bad.parent, bad / "status", directory]
    assert mine.svstat(*places) == real.svstat(*places)
    os.close(held)
    answers = [tools.run(tools.svc_path, "-t", *places[:4]) for tools in both()]
    assert answers[0].stderr and answers[0].stderr == answers[1].stderr and answers[0].returncode == answers[1].returncode == 0
    assert mine.run(mine.svc_path, "-z").returncode == real.run(real.svc_path, "-z").returncode == 100


# The daemon in a root of its own: all folders of the machine's root but /var, and none that is called service.
IN_OWN_ROOT = """
for d in /*; do
  case $d in /var|/service) continue ;; esac
  if [ -L "$d" ]; then [ -L "$0$d" ] || cp -P "$d" "$0$d"
  elif [ -d "$d" ]; then mkdir -p "$0$d" && mount --rbind "$d" "$0$d" || exit 99; fi
done
exec chroot "$0" "$@"
"""


def start_in(root, server):
    unshare = need.program("unshare", "util-linux")
    with open(server.log, "ab") as log:
        server.process = subprocess.Popen(
            [unshare, "--mount", "--propagation", "private", "sh", "-c", IN_OWN_ROOT, str(root), str(daemon.program("greenarrowd")), "--foreground",
             f"--config-filename={server.config}"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=daemon.environment(), start_new_session=True)
    server.exit_checked = False
    server.wait_log("is ready: ", times=server.log_text().count("is ready: ") + 1)
    assert listens(server.port)


def test_a_start_as_root_at_the_default_prefix_makes_service_a_link(greenarrow, sink):
    need.root()
    server = greenarrow(start=False, route=sink, general="run_as_user nobody")
    server.write_config(server.config.read_text().replace(f"service_directory {server.folder}/service", "service_directory /var/hvmail/service"))
    (server.folder / "service").rmdir()
    # below the daemon's folder, which all may enter
    root = server.folder / "root"
    (root / "var" / "hvmail").mkdir(parents=True)
    start_in(root, server)
    assert os.readlink(root / "service") == "/var/hvmail/service"
    server.wait_log("/service is a link to /var/hvmail/service from now on")
    directory = root / "var" / "hvmail" / "service" / "hvmail-qmail-smtpd"
    wait_stat(directory, rf"up \(pid {server.pid}\) \d+ seconds")
    assert {path.owner() for path in (directory, directory / "supervise", *(directory / "supervise").iterdir())} == {"nobody"}
    debians().svc("-tu", directory)
    server.wait_log("smtp_service smtp: restarted")
    # what exists is not touched, whatever it is
    server.stop()
    (root / "service").unlink()
    (root / "service").mkdir()
    start_in(root, server)
    assert list((root / "service").iterdir()) == [] and not (root / "service").is_symlink()
    server.stop()
    assert server.log_text().count("/service is a link") == 1
