#!/usr/bin/python3
"""tai64nlocal and logdir_select_time as programs: octets, exit codes, and reading while somebody writes."""

import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from logs import BUILD, Writer, pytest, run, run_tests, stamp  # noqa: E402

BERLIN = "CET-1CEST,M3.5.0,M10.5.0/3"


# tai64nlocal

def local(given, zone="UTC"):
    done = run("tai64nlocal", given=given, zone=zone)
    assert done.returncode == 0 and not done.stderr
    return done.stdout


def test_stamps_at_the_beginning_of_lines_become_local_time():
    given = (b"@4000000037c219bf2ef02e94 first\n@4000000037c219bf2ef02e94\nplain @4000000037c219bf2ef02e94\n"
             b" @4000000037c219bf2ef02e94 behind a blank\n@4000000066e1a5b93b9ac9ffrest\n\n@4000000066e1a5b900000000 no end")
    assert local(given) == (b"1999-08-24 04:04:05.787492500 first\n1999-08-24 04:04:05.787492500\nplain @4000000037c219bf2ef02e94\n"
                            b" @4000000037c219bf2ef02e94 behind a blank\n2024-09-11 14:14:07.999999999rest\n\n2024-09-11 14:14:07.000000000 no end")


def test_the_local_time_is_that_of_tz():
    change = 1729990800     # from CEST to CET, and a minute on each side
    given = "".join(f"{stamp(change + seconds)} x\n" for seconds in (-1, 0, 59, -1)).encode()
    assert local(given, BERLIN) == (b"2024-10-27 02:59:59.000000000 x\n2024-10-27 02:00:00.000000000 x\n"
                                             b"2024-10-27 02:00:59.000000000 x\n2024-10-27 02:59:59.000000000 x\n")


def test_a_stamp_of_no_calendar_stays_as_it_is():
    given = b"@ x\n@ffffffffffffffffffffffff y\n@7fffffffffffffff00000000\n@4000000037c219bf2ef02e94 z\n"
    assert local(given) == given.replace(b"@4000000037c219bf2ef02e94", b"1999-08-24 04:04:05.787492500")


def debian():
    program = shutil.which("tai64nlocal")
    if program is None and os.environ.get("CI", "").lower() in ("1", "true", "yes"):
        pytest.fail("required here, but missing: tai64nlocal (Debian package daemontools)")
    if program is None:
        pytest.skip("tai64nlocal (Debian package daemontools)")
    return program


def odd_lines(seed):
    """Lines at which Debian's program does not crash: years that int has."""
    choose = random.Random(seed)
    for _ in range(400):
        seconds = choose.choice([choose.randrange(-10**9, 5 * 10**9), choose.randrange(10**13), 1729998000 + choose.randrange(-90, 90)])
        digits = stamp(seconds, choose.choice([0, 500, 999999999, 10**9, 2**32 - 1, choose.randrange(2**32)]))[1:]
        digits = choose.choice(["", "", "", "0", "abcdef0123456789" * choose.randrange(20)]) + digits
        text = choose.choice([" text", "", "G", "@" + digits, "\r", "\0binary\xff", "x" * choose.randrange(5000)])
        yield (choose.choice(["@", "@", "@", "@", " @", "", "x\n@4000000037c219bf2ef02e94"]) + digits + text
               + choose.choice(["\n", "\n", "\n", "\n\n"])).encode("latin-1")


@pytest.mark.parametrize("zone", ["UTC", BERLIN, "Asia/Kathmandu", "America/New_York", "AAA3:00:17BBB,M3.2.0/2:00:30"])
def test_the_same_octets_as_debians(zone):
    theirs = debian()
    for seed in range(10):
        given = b"".join(odd_lines(seed)) + [b"", b"@", b"@4000", b"no end", b"@4000000037c219bf2ef02e94 no end"][seed % 5]
        want = subprocess.run([theirs], input=given, capture_output=True, env={**os.environ, "TZ": zone}, timeout=60)
        assert want.returncode == 0
        assert local(given, zone) == want.stdout, f"seed {seed}"


def test_what_was_read_is_written_at_once():
    with subprocess.Popen([BUILD / "tai64nlocal"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
                          env={**os.environ, "TZ": "UTC"}) as program:
        for given, seen in [(b"@4000000037c219bf2ef02e94 a\n", b"1999-08-24 04:04:05.787492500 a\n"), (b"half a ", b"half a "), (b"line\n", b"line\n")]:
            program.stdin.write(given)
            assert program.stdout.read(len(seen)) == seen
        # half a stamp is no time yet
        program.stdin.write(b"@4000000037c219")
        program.stdin.write(b"bf2ef02e94")
        program.stdin.write(b" b\n")
        assert program.stdout.read(32) == b"1999-08-24 04:04:05.787492500 b\n"
        program.stdin.close()
        assert program.wait(10) == 0


def test_a_stamp_may_be_longer_than_any_buffer():
    assert local(b"@" + b"a" * 400000 + b"4000000037c219bf2ef02e94 x\n") == b"1999-08-24 04:04:05.787492500 x\n"


def test_trouble_with_output_is_111():
    with open("/dev/full", "wb") as full:
        done = subprocess.run([BUILD / "tai64nlocal"], input=b"x\n", stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 111 and b"unable to write output" in done.stderr


# logdir_select_time

def select(folder, *arguments):
    return run("logdir_select_time", "--dir", folder, *arguments, zone=BERLIN)


@pytest.fixture
def folder(tmp_path):
    """Files of 10 lines, a line a second from 1726063500 on; current has the last five."""
    writer = Writer(tmp_path / "log")
    for i in range(35):
        if i > 0 and i % 10 == 0:
            writer.rotate(1726063500 + i)
        writer.write(f"{stamp(1726063500 + i, 500)} remote_smtp: ({i}) > EHLO\n")
    return writer.folder


def numbers(text):
    return [int(n) for n in re.findall(rb"\((\d+)\)", text)]


@pytest.mark.parametrize("start,end,want", [
    ("1726063515", "1726063522", range(15, 22)),
    ("2024-09-11 16:05:15", "2024-09-11T14:05:22Z", range(15, 22)),
    (stamp(1726063515), stamp(1726063522), range(15, 22)),
    ("1726063515.0000005", "1726063515.0000005", [15]),
    ("1726063515.0000006", "1726063516", []),
    ("1726063000", "1726063502", range(2)),
    ("1726063533", "1726064000", [33, 34]),
    ("1800000000", "1800000001", []),
])
def test_the_lines_of_a_window_are_printed_as_they_are(folder, start, end, want):
    done = select(folder, "--start", start, "--end", end)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"".join(f"{stamp(1726063500 + i, 500)} remote_smtp: ({i}) > EHLO\n".encode() for i in want)


def test_one_end_may_be_open(folder):
    assert numbers(select(folder, "--start", "1726063530").stdout) == list(range(30, 35))
    assert numbers(select(folder, "--end", "1726063505").stdout) == list(range(5))


def test_last_is_a_period_up_to_now(tmp_path):
    writer = Writer(tmp_path / "log")
    for ago in (7200, 500, 100):
        writer.write(f"{stamp(time.time() - ago)} ({ago})\n")
    assert numbers(select(writer.folder, "--last", "10 minutes").stdout) == [500, 100]
    assert numbers(select(writer.folder, "--last", "3 hours").stdout) == [7200, 500, 100]


@pytest.mark.parametrize("arguments,said", [
    (["--start", "soon"], "--start: `soon`: `soon`, character 1"),
    (["--start", "2024-13-01"], "`13-01`, character 6: is no month"),
    (["--last", "10 minuets"], "--last: `10 minuets`: `minuets`, character 4"),
    (["--last", "10"], "--last: `10`: the end, character 3: lacks a unit"),
    (["--last", "1h", "--end", "1"], "does not go with"),
    (["--start", "2", "--end", "1"], "is after"),
    ([], "a time is missing"),
    (["--last", "1h", "more"], "unexpected `more`"),
])
def test_what_does_not_parse_is_wrong_usage(folder, arguments, said):
    done = select(folder, *arguments)
    assert done.returncode == 2 and said in done.stderr.decode() and not done.stdout


def test_what_cannot_be_read_is_named_and_the_rest_printed(folder):
    finished = sorted(folder.glob("@*"))
    finished[1].unlink()
    finished[1].mkdir()
    done = select(folder, "--start", "1726063500")
    assert done.returncode == 1 and f"warning: {finished[1]}: is no regular file\n" in done.stderr.decode()
    assert numbers(done.stdout) == [*range(10), *range(20, 35)]
    done = select("/nonexistent", "--last", "1h")
    assert done.returncode == 1 and b"/nonexistent: No such file or directory" in done.stderr


def test_output_that_cannot_be_written_is_1(folder):
    with open("/dev/full", "wb") as full:
        done = subprocess.run([BUILD / "logdir_select_time", "--start", "0", "--dir", folder], stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 1 and b"writing" in done.stderr


class Busy(threading.Thread):
    """Numbered lines as fast as it goes, rotated every 50 lines."""

    def __init__(self, writer, line):
        super().__init__()
        self.writer, self.line, self.written, self.ending = writer, line, 0, False

    def run(self):
        while not self.ending:
            self.writer.write(self.line(self.written))
            self.written += 1
            if self.written % 50 == 0:
                self.writer.rotate()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exception):
        self.ending = True
        self.join()


def test_reading_while_it_is_rotated_loses_and_doubles_nothing(tmp_path):
    writer = Writer(tmp_path / "log", keep=10**6)
    with Busy(writer, lambda i: f"{stamp(time.time())} ({i})\n") as busy:
        for _ in range(30):
            before = busy.written
            done = select(writer.folder, "--start", "0")
            got = numbers(done.stdout)
            assert (done.returncode, done.stderr) == (0, b"")
            assert got == list(range(len(got)))
            assert len(got) >= before
    assert busy.written > 1000


def test_a_directory_of_debians_multilog_is_read(tmp_path):
    debian()
    lines = b"".join(b"(%d) %s\n" % (i, b"x" * (i * 37 % 3000)) for i in range(400))
    subprocess.run([shutil.which("multilog"), "t", "s20000", "n200", tmp_path / "log"], input=lines, check=True, timeout=60)
    assert len(list((tmp_path / "log").glob("@*.s"))) > 20
    done = select(tmp_path / "log", "--last", "1h")
    # lines that multilog cut at the size of a file are whole again
    assert re.sub(rb"(?m)^@[0-9a-f]{24} ", b"", done.stdout) == lines


if __name__ == "__main__":
    run_tests(__file__)
