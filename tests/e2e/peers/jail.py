"""Root folders for the peers: a Debian package unpacked with the libraries that it needs, ready for chroot.

Cache folder: GA_TEST_CACHE, else $XDG_CACHE_HOME/greenarrow-e2e, else ~/.cache/greenarrow-e2e. It holds `debs/` (what
apt downloaded) and one folder a peer. A lock file lets several test runs share it; a peer's state (spool, mailbox) is
wiped whenever it starts, so two runs must not run the same peer at once: the lock of that peer is held while it runs.

Libraries come from the machine where it has them (copied) and from the packages' dependencies where it has not.
"""

import ctypes
import fcntl
import os
import pathlib
import re
import shutil
import signal
import stat
import subprocess

from gatest import need


def cache():
    base = os.environ.get("GA_TEST_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "greenarrow-e2e")
    path = pathlib.Path(base)
    path.mkdir(parents=True, exist_ok=True)
    return path


class Lock:
    def __init__(self, name):
        self.file = open(cache() / f"{name}.lock", "w")
        fcntl.flock(self.file, fcntl.LOCK_EX)

    def release(self):
        self.file.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.release()


def run(*command, **options):
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True, timeout=300, **options).stdout


def not_installed_libraries(packages):
    """The library packages that these packages need and this machine does not have."""
    plan = run("apt-get", "-s", "-o", "Debug::NoLocking=true", "--no-install-recommends", "install", *packages)
    wanted = re.findall(r"(?m)^Inst (\S+) ", plan)
    return [name for name in wanted if name.startswith("lib") and name not in packages]


def download(packages):
    """The .deb files of PACKAGES, from the cache or from the configured Debian archive."""
    debs = cache() / "debs"
    debs.mkdir(exist_ok=True)
    with Lock("debs"):
        missing = [name for name in packages if not list(debs.glob(f"{name}_*.deb"))]
        if missing:
            try:
                run("apt-get", "-o", "APT::Sandbox::User=root", "download", *missing, cwd=debs)
            except (OSError, subprocess.SubprocessError) as error:
                need.missing(f"Debian packages {' '.join(missing)} (apt-get download failed: {getattr(error, 'stderr', error)})")
    return [sorted(debs.glob(f"{name}_*.deb"))[-1] for name in packages]


class Jail:
    """The root folder of one peer. `users` are (name, number); each gets a group of the same name and number."""

    def __init__(self, name, packages, users, version="1"):
        need.root()
        self.name, self.root = name, cache() / name
        self.lock = Lock(name)
        ready = self.root / ".ready"
        if not ready.exists() or ready.read_text() != version:
            shutil.rmtree(self.root, ignore_errors=True)
            self._build(packages, users)
            ready.write_text(version)

    def _build(self, packages, users):
        self.root.mkdir()
        for deb in download(packages):
            run("dpkg", "-x", deb, self.root)
        try:
            extra = not_installed_libraries(packages)
        except subprocess.SubprocessError:
            extra = []
        for deb in download(extra):
            run("dpkg", "-x", deb, self.root)
        # Delivery agents are started through the shell.
        shell = self.path("bin/sh")
        shell.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(pathlib.Path("/bin/sh").resolve(), shell)
        self._copy_libraries()
        for folder in ("etc", "dev", "tmp", "run", "var/tmp", "var/log"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        for folder in ("tmp", "var/tmp"):
            (self.root / folder).chmod(0o1777)
        # Many daemons look in /var/run.
        if not (self.root / "var/run").exists():
            (self.root / "var/run").symlink_to("/run")
        for device, minor in (("null", 3), ("zero", 5), ("random", 8), ("urandom", 9)):
            path = self.root / "dev" / device
            os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, minor))
            path.chmod(0o666)
        everyone = [("root", 0), ("nobody", 65534), ("mail", 8), *users]
        self.write("etc/passwd", "".join(f"{user}:x:{n}:{n}::/:/usr/sbin/nologin\n" for user, n in everyone))
        self.write("etc/group", "".join(f"{user}:x:{n}:\n" for user, n in everyone))
        self.write("etc/hosts", "127.0.0.1 localhost\n")
        self.write("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n")
        self.write("etc/resolv.conf", "nameserver 127.0.0.1\n")
        self.write("etc/services", "smtp 25/tcp\n")
        self.write("etc/protocols", "tcp 6 TCP\nudp 17 UDP\n")

    def _copy_libraries(self):
        """Copy in what ldd names, for every program and library that was unpacked, and the name service's modules."""
        elves = [path for path in self.root.rglob("*") if path.is_file() and not path.is_symlink() and _is_elf(path)]
        own = {path.parent for path in elves if ".so" in path.name}
        environment = dict(os.environ, LD_LIBRARY_PATH=":".join(map(str, own)))
        wanted = set()
        for elf in elves:
            listing = subprocess.run(["ldd", str(elf)], capture_output=True, text=True, env=environment).stdout
            wanted |= {pathlib.Path(path) for path in re.findall(r"(/\S+) \(0x", listing)}
        multiarch = next((path.parent for path in wanted if path.name == "libc.so.6"), pathlib.Path("/lib"))
        wanted |= set(multiarch.glob("libnss_files*")) | set(multiarch.glob("libnss_dns*"))
        for library in wanted:
            if library.is_relative_to(self.root):
                continue
            target = self.root / library.relative_to("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                shutil.copy2(library.resolve(), target)

    def path(self, inside):
        return self.root / inside.lstrip("/")

    def write(self, inside, text, mode=0o644):
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def fresh(self, inside, user=0, mode=0o755):
        """An empty folder there, whatever was in it before."""
        path = self.path(inside)
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        os.chown(path, user, user)
        path.chmod(mode)
        return path

    def popen(self, *command, **options):
        """Start a program within the root folder, in a process group of its own."""
        root = str(self.root)

        def enter():
            _end_with_parent()
            os.chroot(root)
            os.chdir("/")

        return subprocess.Popen(list(command), preexec_fn=enter, start_new_session=True, close_fds=True,
                                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C"}, **options)


_libc = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1


def _end_with_parent():
    """A test run that is killed leaves no server behind."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _is_elf(path):
    with open(path, "rb") as file:
        return file.read(4) == b"\x7fELF"
