"""A disk of a few octets: a tmpfs, and a file that fills it."""

import contextlib
import os
import subprocess

from . import need


@contextlib.contextmanager
def small(folder, size):
    """A tmpfs of SIZE ("640m") on FOLDER, which is made."""
    need.root()
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "greenarrow-test", str(folder)], capture_output=True, text=True)
    if done.returncode != 0:
        need.missing(f"leave to mount a tmpfs ({done.stderr.strip()})")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(folder, leave=0):
    """Take all the room there is, but for LEAVE octets; the file that has it."""
    room = os.statvfs(folder)
    with open(folder / "ballast", "wb") as ballast:
        with contextlib.suppress(OSError):
            os.posix_fallocate(ballast.fileno(), 0, max(room.f_bavail * room.f_bsize - leave, 1))
    return folder / "ballast"
