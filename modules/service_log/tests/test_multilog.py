#!/usr/bin/python3
"""Debian's multilog and our log directories: the same files for the same input, and each goes on where the other left.

Run by `make check` (as a program) or by pytest; `feed` is looked for in $top_builddir or $GA_BUILD.
"""

import os
import pathlib
import random
import shutil
import subprocess
import sys
import time

try:
    import pytest
except ImportError:
    print("pytest is not installed")
    sys.exit(77)

HERE = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(os.environ.get("top_builddir") or os.environ.get("GA_BUILD") or HERE.parent.parent.parent)
FEED = BUILD / "modules" / "service_log" / "tests" / "feed"
MULTILOG = shutil.which("multilog", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


class Multilog:
    """multilog with the limits of "s4096 n5"; with `stamped` it stamps lines."""

    def command(self, directory, limits, stamped):
        return [MULTILOG, *(["t"] if stamped else []), *limits.split(), str(directory)]


class Ours:
    def command(self, directory, limits, stamped):
        return [FEED, directory.parent, directory.name, limits, *(["stamped"] if stamped else [])]


WRITERS = [Multilog(), Ours()]


def start(writer, directory, limits="s99999 n10", stamped=False):
    return subprocess.Popen([str(word) for word in writer.command(directory, limits, stamped)], stdin=subprocess.PIPE, stderr=subprocess.PIPE)


def write(writer, directory, text, **arguments):
    process = start(writer, directory, **arguments)
    _, said = process.communicate(text, timeout=60)
    assert process.returncode == 0, said


def files(directory):
    """[(what kind of file, its mode, its octets)] from the oldest on; all but the lock."""
    order = sorted(path for path in directory.iterdir() if path.name != "lock")
    return [("@" + path.name[25:] if path.name[0] == "@" else path.name, oct(path.stat().st_mode & 0o7777), path.read_bytes()) for path in order]


def wait_for(condition, what):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def numbered(first, last, width):
    """Lines of WIDTH octets with their LF."""
    return b"".join(b"%0*d\n" % (width - 1, i) for i in range(first, last))


# multilog writes in pieces of 512 octets: with lines of that size a piece is a line, and both decide after each.
@pytest.mark.parametrize("lines, limits", [(3, "s4096 n5"), (5, "s4096 n5"), (13, "s4096 n5"), (60, "s4096 n5"), (100, "s8192 n2"), (500, "s99999 n10")])
def test_the_same_input_makes_the_same_files(tmp_path, lines, limits):
    made = []
    for name, writer in zip(("multilog", "ours"), WRITERS):
        write(writer, tmp_path / name, numbered(0, lines, 512), limits=limits)
        made.append(files(tmp_path / name))
    assert made[0] == made[1]
    assert (tmp_path / "ours" / "lock").stat().st_mode == (tmp_path / "multilog" / "lock").stat().st_mode


def test_lines_of_any_length_come_out_the_same(tmp_path):
    lengths = random.Random(4)
    text = b"".join(b"%d %s\n" % (i, b"x" * lengths.choice((0, 1, 30, 100, 900, lengths.randrange(1900)))) for i in range(3000))
    for name, writer in zip(("multilog", "ours"), WRITERS):
        write(writer, tmp_path / name, text, limits="s20000 n1000")
        made = files(tmp_path / name)
        assert b"".join(octets for _, _, octets in made) == text
        assert max(len(octets) for _, _, octets in made) <= 20000 and all(octets.endswith(b"\n") for kind, _, octets in made if octets)
        assert {mode for kind, mode, _ in made if kind == "@.s"} == {"0o744"}


def test_stamped_lines_have_the_same_shape(tmp_path):
    shapes = []
    for name, writer in zip(("multilog", "ours"), WRITERS):
        write(writer, tmp_path / name, b"one\n\ntwo\n", stamped=True)
        lines = (tmp_path / name / "current").read_bytes().splitlines(keepends=True)
        assert all(line.startswith(b"@40000000") and int(line[17:25], 16) % 1000 == 500 for line in lines)
        shapes.append([(len(line), line[25:]) for line in lines])
    assert shapes[0] == shapes[1] == [(30, b" one\n"), (27, b" \n"), (30, b" two\n")]


@pytest.mark.parametrize("first, second", [WRITERS, WRITERS[::-1]])
def test_each_goes_on_where_the_other_has_left(tmp_path, first, second):
    directory = tmp_path / "log"
    write(first, directory, b"one\n")
    before = (directory / "current").stat()
    write(second, directory, b"two\n")
    write(first, directory, b"three\n")
    assert files(directory) == [("current", "0o744", b"one\ntwo\nthree\n"), ("state", "0o644", b"")]
    assert (directory / "current").stat().st_ino == before.st_ino


@pytest.mark.parametrize("first, second", [WRITERS, WRITERS[::-1]])
def test_each_finishes_and_counts_what_the_other_has_left(tmp_path, first, second):
    directory = tmp_path / "log"
    write(first, directory, numbered(0, 28, 512), limits="s4096 n10")       # five lines a file
    write(second, directory, numbered(28, 43, 512), limits="s4096 n4")
    assert [(kind, mode, len(text) // 512) for kind, mode, text in files(directory)] == [
        ("@.s", "0o744", 5), ("@.s", "0o744", 5), ("@.s", "0o744", 5), ("current", "0o744", 3), ("state", "0o644", 0)]
    assert b"".join(text for _, _, text in files(directory)) == numbered(25, 43, 512)


@pytest.mark.parametrize("first, second", [WRITERS, WRITERS[::-1]])
def test_what_the_other_left_when_it_was_killed_is_finished_as_unsafe(tmp_path, first, second):
    directory = tmp_path / "log"
    process = start(first, directory)
    process.stdin.write(b"one\ntwo\n")
    process.stdin.flush()
    wait_for(lambda: (directory / "current").exists() and (directory / "current").read_bytes() == b"one\ntwo\n", "nothing is written")
    assert (directory / "current").stat().st_mode & 0o7777 == 0o644
    process.kill()
    process.communicate()
    with open(directory / "current", "ab") as current:
        current.write(b"torn li")
    write(second, directory, b"three\n")
    assert files(directory) == [("@.u", "0o644", b"one\ntwo\ntorn li"), ("current", "0o744", b"three\n"), ("state", "0o644", b"")]


def test_they_never_write_at_once(tmp_path):
    directory = tmp_path / "log"
    multilog, ours = WRITERS
    holder = start(multilog, directory)
    holder.stdin.write(b"multilog\n")
    holder.stdin.flush()
    wait_for(lambda: (directory / "current").exists() and (directory / "current").read_bytes(), "nothing is written")
    waiting = start(ours, directory)
    waiting.stdin.write(b"ours\n")
    waiting.stdin.flush()
    wait_for(lambda: b"another program has it" in os.read(waiting.stderr.fileno(), 4096), "it does not say why it waits")
    assert (directory / "current").read_bytes() == b"multilog\n"
    holder.communicate(b"more\n", timeout=60)
    wait_for(lambda: (directory / "current").read_bytes() == b"multilog\nmore\nours\n", "it does not go on")
    refused = start(multilog, directory)
    _, said = refused.communicate(b"", timeout=60)
    assert refused.returncode == 111 and b"unable to lock" in said
    waiting.communicate(timeout=60)
    assert waiting.returncode == 0


if __name__ == "__main__":
    if MULTILOG is None:
        print("multilog is not installed (Debian package daemontools)")
        sys.exit(77)
    sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", __file__]))
