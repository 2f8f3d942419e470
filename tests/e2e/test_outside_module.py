"""A third party's module (tests/outside): one C file and a Makefile that know nothing but pkg-config; loaded, working, switched per domain."""

import os
import shutil
import subprocess

import pytest

from gatest import corpus, daemon, need
from gatest.badsink import Default, Each

SOURCE = corpus.SOURCE_ROOT / "tests/outside"


@pytest.fixture(scope="session")
def build(tmp_path_factory):
    """Builds the module in a folder that holds its two files alone."""
    for name, package in (("make", "make"), ("cc", "gcc"), ("pkg-config", "pkgconf")):
        need.program(name, package)
    folder = tmp_path_factory.mktemp("outside")
    folder.chmod(0o755)
    for name in ("tally.c", "Makefile"):
        shutil.copy(SOURCE / name, folder)
    installed = next(daemon.prefix().glob("lib*/**/pkgconfig"))

    def make(*arguments):
        environment = {name: value for name, value in os.environ.items() if name not in ("CPPFLAGS", "C_INCLUDE_PATH", "CPATH", "MAKEFLAGS")}
        done = subprocess.run(["make", "-C", str(folder), f"PKG_CONFIG_PATH={installed}", *arguments], capture_output=True, text=True, env=environment)
        assert done.returncode == 0 and "warning" not in done.stderr, done.stdout + done.stderr
        return done.stdout

    make()
    make.folder = folder
    return make


@pytest.fixture(scope="session")
def tally(build):
    return build.folder / "tally.so"


def tallied(greenarrow, module, **arguments):
    return greenarrow(modules=[*daemon.present_modules(), module], **arguments)


def counters(server):
    return {name: daemon.find(daemon.find(server.status(), "tally"), name) for name in ("delivered_total", "deferred_total", "failed_total")}


def wait_counters(server, **wanted):
    wanted = {f"{name}_total": wanted.get(name, 0) for name in ("delivered", "deferred", "failed")}
    server.wait_settled()
    assert counters(server) == wanted


def test_it_is_compiled_against_the_installed_headers_only(build):
    command = next(line for line in build("-B").splitlines() if "-shared" in line)
    includes = [word for word in subprocess.run(["pkg-config", "--cflags", "greenarrow"], capture_output=True, text=True, check=True,
                                                env={**os.environ, "PKG_CONFIG_PATH": str(next(daemon.prefix().glob("lib*/**/pkgconfig")))}).stdout.split()]
    assert includes and all(word.startswith(f"-I{daemon.prefix()}") for word in includes), includes
    assert str(corpus.SOURCE_ROOT / "core") not in command and "GA_BUILD_ID" not in command
    assert [name for name in (SOURCE / "tally.c").read_text().split("\n") if "#include <greenarrow/" in name] == ["#include <greenarrow/greenarrow.h>"]


def test_it_marks_messages_and_counts_what_became_of_them(greenarrow, sinks, tally):
    sink = sinks({"RCPT": Each("450 4.2.0 later", "550 5.1.1 never", Default())})
    server = tallied(greenarrow, tally, route=sink, retry="retry_schedule 1h", general="tally_report 3")
    server.submit(recipients=["a@deferred.example"])
    server.wait_queue(deferral_total=1)
    server.submit(recipients=["a@failed.example"])
    server.wait_queue(failure_total=1)
    server.submit(recipients=["a@one.example", "b@one.example"])
    sink.wait_messages(1)
    server.wait_queue(success_total=2)
    assert b"\r\nX-Tally: recipients=2\r\n" in sink.messages[0].wire.split(b"\r\n\r\n")[0] + b"\r\n"
    assert counters(server) == {"delivered_total": 2, "deferred_total": 1, "failed_total": 1}
    server.wait_log(r"tally: delivered 1, deferred 1, failed 1 \[TALLY-0001\]")
    server.stop()
    assert "tally: delivered 2, deferred 1, failed 1 [TALLY-0001]" in server.log_text(), "its last words"


def test_use_module_switches_it_by_domain(greenarrow, sink, tally):
    server = tallied(greenarrow, tally, route=sink, everywhere="domain quiet.example {\n  use_module tally no\n}\n")
    server.submit(recipients=["a@loud.example"])
    server.submit(recipients=["a@quiet.example"])
    sink.wait_messages(2)
    wait_counters(server, delivered=1)


def test_use_module_switches_it_on_for_one_domain_alone(greenarrow, sink, tally):
    server = tallied(greenarrow, tally, route=sink, ip="use_module tally no\ndomain loud.example {\n  use_module tally yes\n}\n")
    for name in ("loud", "quiet", "other"):
        server.submit(recipients=[f"a@{name}.example"])
    sink.wait_messages(3)
    wait_counters(server, delivered=1)


def test_use_module_switches_it_by_service(greenarrow, sink, tally):
    server = tallied(greenarrow, tally, route=sink, service="use_module tally no")
    server.submit()
    sink.wait_messages(1)
    assert b"X-Tally" not in sink.messages[0].wire
    wait_counters(server, delivered=1)


def test_a_reload_switches_it_and_changes_its_settings(greenarrow, sink, tally):
    server = tallied(greenarrow, tally, route=sink)
    server.submit()
    sink.wait_messages(1)
    server.wait_empty()
    server.change(general="tally_header X-Other", everywhere="domain receiver.example {\n  use_module tally no\n}\n")
    assert server.run("greenarrow_config", "reload").returncode == 0
    server.submit()
    sink.wait_messages(2)
    server.wait_empty()
    assert b"X-Tally: recipients=1" in sink.messages[0].wire and b"X-Other: recipients=1" in sink.messages[1].wire
    server.wait_log(r"tally: delivered 1, deferred 0, failed 0")


def test_its_directives_are_checked_before_it_runs(greenarrow, sink, tally):
    server = greenarrow(start=False, route=sink, modules=[*daemon.present_modules(), tally], general="tally_report 0\ntally_heder X", service="tally_report 5")
    done = server.run("greenarrow_config", "validate")
    assert done.returncode == 1
    for words in ("tally_report", "tally_heder", "tally_header"):
        assert words in done.stderr, done.stderr
