"""Log directories for tests: written as multilog does, also while somebody reads them."""

import os
import pathlib
import time

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
