"""What a missing tool means: a skip with its reason on a laptop, a failure where all of it must be there.

CI=true or GA_REQUIRE_PEERS=1 turn every such skip into a failure, so that a green run there has run everything.
"""

import os
import shutil

import pytest


def everything_required():
    return os.environ.get("GA_REQUIRE_PEERS") == "1" or os.environ.get("CI", "").lower() in ("1", "true", "yes")


def missing(reason):
    """The test cannot run here: skip it, or fail where nothing may be skipped."""
    if everything_required():
        pytest.fail(f"required here, but missing: {reason}", pytrace=False)
    pytest.skip(reason)


def program(name, package):
    """Path of a program, looked for in the sbin folders too (users have them rarely in PATH)."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/local/sbin")
    if path is None:
        missing(f"{name} (Debian package {package})")
    return path


def root():
    if os.geteuid() != 0:
        missing("root (this test changes users, mounts or uses ports below 1024)")
