"""Load and receivers of tests/bench: the C programs ga_smtp_source and ga_smtp_sink."""

import os
import pathlib
import signal
import subprocess
import time

from . import daemon, need


def tool(name):
    places = [daemon.prefix() / "bin" / name, daemon.prefix() / "libexec" / "greenarrow" / name]
    for build in filter(None, (os.environ.get("GA_BUILD"), os.environ.get("top_builddir"), os.environ.get("GA_BENCH"))):
        places += [pathlib.Path(build) / "tests/bench" / name, pathlib.Path(build) / name]
    found = next((place for place in places if place.exists()), None)
    if found is None:
        need.missing(f"{name} (tests/bench; set GA_BUILD)")
    return str(found)


class Tool:
    """A program with its output in a file; stopped by SIGTERM."""

    def __init__(self, folder, *command):
        self.out = folder / (pathlib.Path(command[0]).name + ".out")
        with open(self.out, "ab") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, env=daemon.environment())

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def wait_for(self, text, timeout=20):
        end = time.monotonic() + timeout
        while text not in self.out.read_text():
            assert time.monotonic() < end and self.process.poll() is None, self.out.read_text()
            time.sleep(0.05)
