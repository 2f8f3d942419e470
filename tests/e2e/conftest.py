"""Fixtures of the end-to-end tests; what they are made of is in gatest/ and peers/, how to run them in README.md."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import peers                                    # noqa: E402
from gatest import badsink, daemon, need, ports # noqa: E402
from gatest import dns as dns_server            # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--heavy", action="store_true", help="run the tests that take minutes too")
    parser.addoption("--alone", choices=("no", "only", "too"), default="too", help="the tests that must have the machine for themselves")


def deselect(config, items, out):
    """Take the tests that OUT is true of from the list."""
    gone = [item for item in items if out(item)]
    if gone:
        config.hook.pytest_deselected(items=gone)
        items[:] = [item for item in items if not out(item)]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    # What workers of pytest-xdist share out: files, and apart from them all that needs the receivers, which run once.
    for item in items:
        item.add_marker(pytest.mark.xdist_group("receivers" if "receivers" in item.fixturenames else item.path.stem))
    if config.getoption("--alone") != "too":
        deselect(config, items, lambda item: bool(item.get_closest_marker("alone")) == (config.getoption("--alone") == "no"))
    if config.getoption("--heavy") or os.environ.get("GA_HEAVY") == "1" or "heavy" in (config.option.markexpr or ""):
        return
    deselect(config, items, lambda item: item.get_closest_marker("heavy"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for one in getattr(item, "daemons", []):
            report.sections.append((f"greenarrowd in {one.folder}", one.tail()))
        for one in getattr(item, "sinks", []):
            report.sections.append((f"sink {one.address}", one.dump()[-4000:]))


@pytest.fixture
def greenarrow(request):
    """Start daemons: greenarrow(route=sink, everywhere="…") or greenarrow(start=False, …), see daemon.Settings.

    At the end of the test each is stopped and held to a clean exit and a clean log.
    """
    request.node.daemons = started = []

    def make(start=True, **arguments):
        one = daemon.Daemon(**arguments)
        started.append(one)
        return one.start() if start else one

    yield make
    problems = []
    for one in started:
        try:
            if one.process:
                one.stop()
        except AssertionError as error:
            problems.append(str(error))
    keep = problems or getattr(request.node, "failed", False)
    for one in started:
        if not (keep and os.environ.get("GA_KEEP")):
            one.remove()
    assert not problems, "\n".join(problems)


@pytest.fixture
def sinks(request):
    """Start scripted sinks: sinks({...}) or any argument of badsink.BadSink."""
    request.node.sinks = started = []

    def make(script=None, **arguments):
        one = badsink.BadSink(script, **arguments).__enter__()
        started.append(one)
        return one

    yield make
    for one in started:
        one.__exit__()


@pytest.fixture
def sink(sinks):
    """One well-behaved sink."""
    return sinks()


@pytest.fixture
def mx_hosts(sinks):
    """mx_hosts(n, script…): sinks on port 25, each on its own loopback address."""
    lowest = int(pathlib.Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if os.geteuid() != 0 and lowest > 25:
        need.missing("leave to bind port 25 (root)")

    def make(count=1, script=None, **arguments):
        return [sinks(script, host=ports.free_address(), port=25, **arguments) for _ in range(count)]

    return make


@pytest.fixture
def dns():
    """Start a DNS server with records: dns({"receiver.example": ["MX 10 mx.receiver.example."], …}, servfail=[…])."""
    started = []

    def make(records=None, **arguments):
        one = dns_server.Dns(records, **arguments).__enter__()
        started.append(one)
        return one

    yield make
    for one in started:
        one.__exit__()


@pytest.fixture(scope="session")
def certificate():
    """A self-signed certificate and its key: (certificate file, key file), readable by any user."""
    openssl = need.program("openssl", "openssl")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="ga-tls-"))
    folder.chmod(0o755)
    files = (str(folder / "cert.pem"), str(folder / "key.pem"))
    subprocess.run([openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=mail.test.example",
                    "-addext", "subjectAltName=DNS:mail.test.example,DNS:*.receiver.example", "-out", files[0], "-keyout", files[1]],
                   check=True, capture_output=True)
    pathlib.Path(files[1]).chmod(0o644)
    yield files
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def receivers():
    """The three peers, all running: {"postfix": Postfix, "exim": Exim, "opensmtpd": OpenSmtpd}."""
    running = {}
    try:
        for name, kind in peers.ALL.items():
            running[name] = kind().__enter__()
        yield running
    finally:
        for one in running.values():
            one.stop()
