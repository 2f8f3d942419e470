"""ga_smtp_source and ga_smtp_sink as Python objects, and strace as a counter of syncs. Used by `run` and by the tests."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time


class Tools:
    """Where the two programs are: the folder tests/bench of a build tree."""

    def __init__(self, build=None):
        self.sinks = []
        here = pathlib.Path(__file__).resolve().parent
        top = here.parents[1]
        wanted = [build, os.environ.get("GA_BUILD"), top, *sorted(top.glob("build*"))]
        for tree in filter(None, wanted):
            folder = pathlib.Path(tree).resolve() / "tests/bench"
            if (folder / "ga_smtp_source").exists() and (folder / "ga_smtp_sink").exists():
                self.source, self.sink = folder / "ga_smtp_source", folder / "ga_smtp_sink"
                return
        raise FileNotFoundError("ga_smtp_source and ga_smtp_sink are not built: give --build, or run make")

    def send(self, port, *options, timeout=600, check=True):
        """Run ga_smtp_source to its end; its figures as a dict."""
        done = subprocess.run([self.source, "--json", *map(str, options), f"127.0.0.1:{port}"], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=timeout)
        if done.returncode not in (0, 1) or (check and done.returncode):
            raise RuntimeError(f"ga_smtp_source ended with {done.returncode}:\n{done.stderr}{done.stdout}")
        return json.loads(done.stdout)

    def start_sink(self, *options):
        self.sinks.append(Sink(self.sink, options))
        return self.sinks[-1]

    def kill_sinks(self):
        """Those that were not stopped."""
        for sink in self.sinks:
            if sink.process.poll() is None:
                sink.process.kill()
                sink.process.wait()
        self.sinks.clear()


class Sink:
    """A running ga_smtp_sink on a port of its own choice, or on that of a --listen option."""

    def __init__(self, program, options):
        options = [str(option) for option in options]
        if not any(option.startswith("--listen") for option in options):
            options.append("--listen=127.0.0.1:0")
        self.process = subprocess.Popen([program, "--json", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.process.stderr.readline()
        found = re.search(r"ready on \S*:(\d+)$", line.strip())
        if not found:
            self.process.wait(10)
            raise RuntimeError(f"ga_smtp_sink: {line}{self.process.stderr.read()}")
        self.port = int(found[1])

    def figures(self):
        """What it has counted so far."""
        self.process.send_signal(signal.SIGUSR1)
        return self._read_document()

    def _read_document(self):
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if line.rstrip() == "}":
                return json.loads("".join(lines))
        raise RuntimeError("ga_smtp_sink ended without its figures")

    def wait_for(self, messages, timeout):
        """Until it has accepted that many messages; its figures. TimeoutError tells how far it came."""
        end = time.monotonic() + timeout
        while True:
            now = self.figures()
            if now["messages"] >= messages:
                return now
            if time.monotonic() > end:
                raise TimeoutError(f"{now['messages']} of {messages} messages arrived in {timeout:.0f} s")
            time.sleep(0.05)

    def stop(self):
        """End it; its last figures."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        figures = self._read_document()
        self.process.wait(10)
        self.process.stdout.close()
        self.process.stderr.close()
        return figures


class SyncCounter:
    """Counts fsync and fdatasync calls of processes and of those they start, with strace. Slows them: not for rates."""

    CALLS = "fsync,fdatasync,sync_file_range,syncfs,sync"

    def __init__(self, pids, out):
        if not shutil.which("strace"):
            raise FileNotFoundError("strace is not installed")
        self.out = pathlib.Path(out)
        attach = [word for pid in sorted(pids) for word in ("-p", str(pid))]
        self.process = subprocess.Popen(["strace", "-f", "-qq", "-c", "-U", "name,calls", "-e", f"trace={self.CALLS}", "-o",
                                         self.out, *attach], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        time.sleep(1)
        if self.process.poll() is not None:
            raise RuntimeError(f"strace: {self.process.stderr.read().decode(errors='replace')}")

    def stop(self):
        """The number of calls by name."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)
        self.process.stderr.close()
        counted = {}
        for line in self.out.read_text().splitlines():
            words = line.split()
            if len(words) >= 2 and words[0] in self.CALLS.split(",") and words[1].isdigit():
                counted[words[0]] = int(words[1])
        return counted
