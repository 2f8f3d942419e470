"""A slow or failing disk: shim_sync.c compiled and preloaded into a daemon."""

import pathlib
import subprocess
import tempfile

from . import need

SOURCE = pathlib.Path(__file__).resolve().parent.parent / "shim_sync.c"


class SyncShim:
    """`environment()` for the daemon; `delay(ms)`, `fail(True)`; `calls()` are (start, end, result), times as time.monotonic()."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="ga-shim-"))
        self.folder.chmod(0o777)
        self.library = self.folder / "shim_sync.so"
        subprocess.run([need.program("cc", "gcc"), "-shared", "-fPIC", "-O1", "-o", str(self.library), str(SOURCE), "-ldl"], check=True)

    def environment(self):
        return {"LD_PRELOAD": str(self.library), "SHIM_DIR": str(self.folder), "ASAN_OPTIONS": "verify_asan_link_order=0:detect_leaks=1"}

    def delay(self, milliseconds):
        self._switch("delay", str(milliseconds) if milliseconds else None)

    def fail(self, on):
        self._switch("fail", "yes" if on else None)

    def _switch(self, name, text):
        path = self.folder / name
        if text is None:
            path.unlink(missing_ok=True)
        else:
            path.write_text(text)

    def calls(self):
        path = self.folder / "calls"
        if not path.exists():
            return []
        return [(int(a) / 1e9, int(b) / 1e9, int(c)) for a, b, c in (line.split() for line in path.read_text().splitlines())]
