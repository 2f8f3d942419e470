"""Log directories for tests: written as multilog does, also while somebody reads them.

The programs under test are looked for in $top_builddir (make check), in $GA_BUILD, or in the tree.
"""

import os
import pathlib
import subprocess
import sys
import time

try:
    import pytest
except ImportError:
    print("pytest is not installed")
    sys.exit(77)

BUILD = pathlib.Path(os.environ.get("top_builddir") or os.environ.get("GA_BUILD") or pathlib.Path(__file__).resolve().parents[2])


def run(program, *arguments, given=None, zone="UTC"):
    """One of our programs, to its end; `given` is its input, text and output are octets."""
    return subprocess.run([BUILD / program, *map(str, arguments)], input=given, capture_output=True, timeout=120,
                          env={**os.environ, "TZ": zone})


def run_tests(file):
    sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", file]))


TAI_EPOCH = 4611686018427387914


def stamp(seconds, nanoseconds=0):
    """The TAI64N label of a time."""
    return f"@{int(seconds) + TAI_EPOCH:016x}{nanoseconds:08x}"


class Writer:
    """Writes lines into a directory and rotates it in multilog's steps, each a moment at which a reader may look."""

    def __init__(self, folder, keep=1000):
        self.folder, self.keep, self.file = pathlib.Path(folder), keep, None
        self.folder.mkdir(parents=True, exist_ok=True)
        self.open()

    def open(self):
        self.file = open(self.folder / "current", "ab", buffering=0)

    def write(self, text):
        self.file.write(text.encode() if isinstance(text, str) else text)

    def rotate(self, at=None, suffix="s"):
        """`at`: the time that the file was finished, else now."""
        previous = self.folder / "previous"
        self.file.close()
        os.rename(self.folder / "current", previous)
        self.open()
        now = time.time() if at is None else at
        final = self.folder / f"{stamp(now, int(now % 1 * 1e9))}.{suffix}"
        os.link(previous, final)
        previous.unlink()
        for old in sorted(self.folder.glob("@*"))[:-self.keep]:
            old.unlink()
        return final
