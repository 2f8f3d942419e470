"""A real greenarrowd with a generated configuration in a folder of its own.

Where the program comes from: GA_PREFIX (an installed tree), or GA_BUILD (a build tree, installed once a run into a
temporary prefix), or the build tree that `make check` names in top_builddir.

A daemon that a test started is stopped by SIGTERM at its end and has to exit with 0, without a sanitizer's report and
without a line of level error in its log that the test did not announce with `expect_log`.
"""

import atexit
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import textwrap
import time

from . import corpus, need, ports, secrets, smtp

MODULES = ("service_log", "smtp_log", "spool", "queue", "route", "throttle", "svc", "smtp_server", "tcp_rules", "smtp_client", "transport_direct",
           "smtp_patterns", "bounce", "explain", "delivery_log", "queue_control")
DIRECTORIES = ("queue", "log", "run", "control", "service")
SANITIZER = re.compile(r"(?:ERROR|WARNING): \w+Sanitizer|runtime error:|SUMMARY: \w+Sanitizer")
# "2026-11-25T18:10:37.123Z error spool: …", and what a program says that ends before its log begins or by an assertion.
BAD_LINE = re.compile(r"^\S+Z error |^\S*greenarrowd: (?!warning)|Assertion|assert\w* failed", re.IGNORECASE)

_installed = None


def prefix():
    """The installed tree under test."""
    global _installed
    if _installed:
        return _installed
    if os.environ.get("GA_PREFIX"):
        _installed = pathlib.Path(os.environ["GA_PREFIX"])
        return _installed
    build = os.environ.get("GA_BUILD") or os.environ.get("top_builddir")
    if not build:
        need.missing("greenarrowd: set GA_PREFIX=installed tree or GA_BUILD=build tree")
    target = tempfile.mkdtemp(prefix="ga-inst-")
    os.chmod(target, 0o755)
    atexit.register(shutil.rmtree, target, ignore_errors=True)
    done = subprocess.run(["make", "-s", "-C", build, "install", f"prefix={target}"], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"make install failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    _installed = pathlib.Path(target)
    return _installed


def program(name):
    for folder in ("sbin", "bin"):
        path = prefix() / folder / name
        if path.exists():
            return path
    raise AssertionError(f"{name} is not in {prefix()}/sbin or bin")


def module_directory():
    return next(iter(prefix().glob("lib*/**/greenarrow/modules")), prefix() / "lib/greenarrow/modules")


def present_modules(bounce=False):
    """All that are built. Without `bounce` what has failed stays in the queue, where a test can see it."""
    there = {path.stem for path in module_directory().glob("*.so")}
    return [name for name in MODULES if name in there and (bounce or name != "bounce")]


def environment():
    options = dict(os.environ)
    options.pop("GREENARROW_CONFIG", None)
    options["LSAN_OPTIONS"] = f"suppressions={corpus.SOURCE_ROOT}/tests/lsan.supp:print_suppressions=0"
    options["UBSAN_OPTIONS"] = "print_stacktrace=1"
    options["ASAN_OPTIONS"] = "detect_leaks=1"
    return options


def block(head, text):
    body = textwrap.indent(textwrap.dedent(text).strip(), "  ")
    return f"{head} {{\n{body}\n}}\n"


class Settings:
    """The configuration of one daemon. Each argument is the text of statements for one place:

    general, service (the smtp_service), ip (ip_address ip-1), everywhere (ip_address *), top (the end of the file);
    `route`: where all mail goes (anything with .address, or HOST:PORT), `dns`: a Dns. `modules` replaces the list,
    `bounce` adds the module that reports failures to senders.
    """

    def __init__(self, route=None, dns=None, general="", service="", ip="", everywhere="", top="", modules=None,
                 source="127.0.0.2 mail1.test.example", workers=2, retry="retry_schedule 1s, 2s", listen=None, hostname="mail.test.example",
                 bounce=False):
        self.route = getattr(route, "address", route)
        self.dns = getattr(dns, "address", dns)
        self.general, self.service, self.ip, self.everywhere, self.top = general, service, ip, everywhere, top
        self.bounce = bounce
        self.modules, self.source, self.workers, self.retry, self.listen, self.hostname = modules, source, workers, retry, listen, hostname

    def text(self, folder, listen):
        modules = self.modules if self.modules is not None else present_modules(self.bounce)
        general = [f"hostname {self.hostname}", "default_virtual_mta ip-1", f"workers {self.workers}",
                   f"module_directory {module_directory()}"]
        general += [f"{name}_directory {folder}/{name}" for name in DIRECTORIES]
        if os.geteuid() == 0 and "run_as_user" not in self.general:
            general.append("run_as_user root")
        if self.dns:
            general += [f"dns_server {self.dns}", "allow_loopback_mx yes"]
        everywhere = self.everywhere
        if self.route:
            everywhere += "\n" + block("domain *", f"smtp_route {self.route}")
        return ("".join(f"load_module {name}\n" for name in modules)
                + block("general", "\n".join(general) + "\n" + textwrap.dedent(self.general))
                + block("smtp_service smtp", f"listen {', '.join(listen)}\n" + textwrap.dedent(self.service))
                + block("ip_address ip-1", f"mta_id 2\nsmtp_source {self.source}\n" + textwrap.dedent(self.ip))
                + block("ip_address *", f"{self.retry}\n" + textwrap.dedent(everywhere))
                + textwrap.dedent(self.top))


class Daemon:
    """One greenarrowd; `start()` it, `stop()` or `kill()` it, `start()` it again on the same queue."""

    def __init__(self, settings=None, folder=None, **arguments):
        self.settings = settings or Settings(**arguments)
        self.folder = pathlib.Path(folder or tempfile.mkdtemp(prefix="ga-e2e-"))
        self.folder.chmod(0o755)
        for name in DIRECTORIES:
            (self.folder / name).mkdir(exist_ok=True)
        self.config = self.folder / "control" / "greenarrow.conf"
        self.log = self.folder / "daemon.log"
        self.host, self.port = "127.0.0.1", ports.free_port()
        self.process = None
        self.expected = []
        self.logs_secrets = False       # log_smtp_credentials yes
        self.extra_environment = {}
        self.exit_checked = True
        self.checked_to = 0
        self.write_config()

    # Configuration.

    @property
    def listen(self):
        return [f"{self.host}:{self.port}", *(self.settings.listen or [])]

    def write_config(self, text=None):
        self.config.write_text(text if text is not None else self.settings.text(self.folder, self.listen))
        self.config.chmod(0o644)

    def change(self, **arguments):
        """Other settings for the next start or reload."""
        for name, value in arguments.items():
            assert hasattr(self.settings, name), name
            setattr(self.settings, name, getattr(value, "address", value) if name in ("route", "dns") else value)
        self.write_config()

    # Life.

    @property
    def address(self):
        return (self.host, self.port)

    @property
    def pid(self):
        return self.process.pid

    def spawn(self, *arguments, preexec_fn=None):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [str(program("greenarrowd")), "--foreground", f"--config-filename={self.config}", *arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**environment(), **self.extra_environment}, cwd=str(self.folder),
                start_new_session=True, preexec_fn=preexec_fn)
        self.exit_checked = False
        return self

    def start(self, timeout=30):
        """Run it until it answers and has read its spool."""
        self.spawn()
        end = time.monotonic() + timeout
        self._wait_answer(end, timeout)
        while "reading the spool" in str(self.status().get("holds")):
            assert time.monotonic() < end, f"the spool is not read within {timeout} s:\n{self.tail()}"
            time.sleep(0.02)
        return self

    def _wait_answer(self, end, timeout):
        while time.monotonic() < end:
            if self.process.poll() is not None:
                self.exit_checked = True
                raise AssertionError(f"greenarrowd ended with {self.process.returncode} at start:\n{self.tail()}")
            try:
                with smtp.Smtp(self.address, timeout=5) as client:
                    client.send(b"QUIT\r\n")
                    return
            except (OSError, smtp.Disconnected):
                time.sleep(0.05)
        raise AssertionError(f"greenarrowd does not answer on {self.address} within {timeout} s:\n{self.tail()}")

    def stop(self, timeout=40):
        """SIGTERM, and all that has to hold at the end of a daemon's life."""
        if not self.running:
            return self.check()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)
            self.process.wait()
            raise AssertionError(f"greenarrowd did not end within {timeout} s of SIGTERM:\n{self.tail()}")
        return self.check()

    def check(self):
        if not self.exit_checked:
            self.exit_checked = True
            assert self.process.returncode == 0, f"greenarrowd ended with {self.process.returncode}:\n{self.tail()}"
        self.check_log()

    def kill(self):
        """kill -9: no farewell. What was logged until then is still checked at the end."""
        self.process.kill()
        self.process.wait()
        self.exit_checked = True

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def restart(self, **arguments):
        self.stop()
        if arguments:
            self.change(**arguments)
        return self.start()

    def remove(self):
        if self.running:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    # Log.

    def log_text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def tail(self, octets=6000):
        return self.log_text()[-octets:]

    def expect_log(self, pattern):
        """Announce lines of level error (or worse) that this test provokes."""
        self.expected.append(re.compile(pattern))

    def logs(self):
        """Every file that it logs to."""
        return [path for path in [self.log, *(self.folder / "log").rglob("*")] if path.is_file()]

    def check_log(self):
        found = [] if self.logs_secrets else secrets.betrayed(self.logs())
        assert not found, f"a password is in a log: {found}"
        text = self.log_text()[self.checked_to:]
        report = SANITIZER.search(text)
        assert not report, f"sanitizer report:\n{text[max(0, report.start() - 500):report.start() + 6000]}"
        bad = [line for line in text.splitlines() if BAD_LINE.search(line) and not any(e.search(line) for e in self.expected)]
        self.checked_to += len(text)
        assert not bad, "unexpected lines in greenarrowd's log:\n" + "\n".join(bad[:20])

    def wait_log(self, pattern, timeout=20, times=1):
        """Wait until PATTERN has been logged, TIMES times; the last match. Counters go up before the line is written."""
        end = time.monotonic() + timeout
        while True:
            found = list(re.finditer(pattern, self.log_text()))
            if len(found) >= times:
                return found[-1]
            if time.monotonic() > end:
                raise AssertionError(f"{len(found)} times {pattern!r}, not {times}, in the log within {timeout} s:\n{self.tail()}")
            time.sleep(0.05)

    # Talking to it.

    def submit(self, wire=None, **arguments):
        reply = smtp.submit(self.address, wire if wire is not None else corpus.simple(), **arguments)
        assert reply.code == 250, f"not accepted: {reply}"
        return reply

    def client(self, **arguments):
        return smtp.Smtp(self.address, **arguments)

    def run(self, name, *arguments, timeout=60):
        """One of our command line programs on this daemon's configuration."""
        return subprocess.run([str(program(name)), f"--config-filename={self.config}", *map(str, arguments)],
                              capture_output=True, text=True, timeout=timeout, env=environment(), cwd=str(self.folder))

    def control(self, command, timeout=20, **arguments):
        """One request on the control socket; the answer as a dict."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(timeout)
            sock.connect(str(self.folder / "run" / "control.sock"))
            sock.sendall(json.dumps({"v": 1, "id": 1, "cmd": command, "args": arguments}).encode() + b"\n")
            answer = b""
            while not answer.endswith(b"\n"):
                more = sock.recv(65536)
                assert more, f"control socket closed after {answer!r}"
                answer += more
        return json.loads(answer)

    def status(self):
        answer = self.control("status")
        assert answer.get("ok"), answer
        return answer

    def queue(self):
        """The queue's counters, as `greenarrow status` has them."""
        return find(self.status(), "queue")

    def wait_queue(self, timeout=20, **wanted):
        """Wait until the queue's counters are these, for example wait_queue(disk=1)."""
        end = time.monotonic() + timeout
        while True:
            now = self.queue()
            if all(now.get(name) == value for name, value in wanted.items()):
                return now
            if time.monotonic() > end:
                raise AssertionError(f"queue is {now}, not {wanted}, after {timeout} s\n{self.tail()}")
            time.sleep(0.05)

    def wait_settled(self, timeout=60):
        """Wait until every envelope has been delivered or has failed for good (those are kept)."""
        end = time.monotonic() + timeout
        while (now := self.queue())["envelopes"] != now["failed"]:
            assert time.monotonic() < end, f"queue is {now} after {timeout} s\n{self.tail()}"
            time.sleep(0.05)

    def wait_empty(self, timeout=30):
        return self.wait_queue(timeout, envelopes=0)


def find(tree, name):
    """The member NAME, at whatever depth."""
    if isinstance(tree, dict):
        if name in tree:
            return tree[name]
        for value in tree.values():
            found = find(value, name)
            if found is not None:
                return found
    return None
