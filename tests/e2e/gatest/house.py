"""A machine of one test's own: its root folder, its network, and the installed tree at /var/hvmail.

What is printed in a manual can then be typed as it is printed: `/var/hvmail/control/smtp2`, port 587, a client at 1.2.3.4. The
test's function runs in a child that has a network namespace (the loopback interface alone, with the addresses asked for) and a
mount namespace whose root is in memory: the real folders are bound into it, but for what is installed, which is a copy.
Nothing outside changes, and all of it is gone with the child.

The copy is bound to two places, where it was built for and /var/hvmail, so the same files have both names.
"""

import ctypes
import functools
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback

from . import daemon, need

NEW_MOUNTS, NEW_NETWORK = 0x00020000, 0x40000000
PRIVATE = 0x40000
BIND = 0x1000 | 0x4000      # with what is mounted below
HOME = pathlib.Path("/var/hvmail")

_libc = ctypes.CDLL(None, use_errno=True)


def _call(function, *arguments):
    if function(*arguments) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{function.__name__}: {os.strerror(error)}")


def _mount(source, target, flags, kind=None, options=None):
    source, target, kind, options = (None if text is None else os.fsencode(str(text)) for text in (source, target, kind, options))
    _call(_libc.mount, source, target, kind, ctypes.c_ulong(flags), options)


def _furnish(root, installed):
    """Everything of the real root but /var/hvmail and /service, and INSTALLED twice."""
    _mount("tmpfs", root, 0, "tmpfs", "mode=0755")
    for path in pathlib.Path("/").iterdir():
        inside = root / path.name
        if path.is_symlink():
            inside.symlink_to(os.readlink(path))
        elif path.is_dir() and path.name not in ("var", "service"):
            inside.mkdir()
            _mount(path, inside, BIND)
    for path in pathlib.Path("/var").iterdir():
        if path.is_dir() and path != HOME:
            (root / "var" / path.name).mkdir(parents=True)
            _mount(path, root / "var" / path.name, BIND)
    for home in (root / HOME.relative_to("/"), root / daemon.prefix().relative_to("/")):
        home.mkdir(parents=True, exist_ok=True)
        _mount(installed, home, BIND)


def _move_in(root, installed, addresses):
    _call(_libc.unshare, NEW_MOUNTS | NEW_NETWORK)
    _mount(None, "/", PRIVATE | 0x4000)
    ip = need.program("ip", "iproute2")
    subprocess.run([ip, "link", "set", "lo", "up"], check=True)
    for address in addresses:
        subprocess.run([ip, "addr", "add", address, "dev", "lo"], check=True)
    _furnish(root, installed)
    os.chroot(root)
    os.chdir("/")


def kill_group(process):
    """Stop a pipeline that was started in a session of its own."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def of_its_own(*addresses):
    """Decorate a test: it runs as root of such a machine, with /var/hvmail just installed."""
    def decorate(test):
        @functools.wraps(test)
        def run(*arguments, **named):
            need.root()
            folder = pathlib.Path(tempfile.mkdtemp(prefix="ga-house-"))
            folder.chmod(0o755)
            root, installed = folder / "root", folder / "hvmail"
            root.mkdir()
            shutil.copytree(daemon.prefix(), installed, symlinks=True)
            sys.stdout.flush()
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    _move_in(root, installed, addresses)
                    test(*arguments, **named)
                    status = 0
                except BaseException:       # all of it is the parent's to report
                    traceback.print_exc()
                finally:
                    sys.stdout.flush()
                    sys.stderr.flush()
                    os._exit(status)
            _, status = os.waitpid(child, 0)
            shutil.rmtree(folder)
            assert status == 0, "failed on its own machine, see the output"
        return run
    return decorate
