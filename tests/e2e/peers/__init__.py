"""Other people's mail servers as receivers: Debian's Postfix, Exim and OpenSMTPD, unpacked, never installed.

Each gets a root folder of its own in the cache (see jail.py) and runs there under chroot, which needs root and nothing
else of the machine: no package is installed, no user is created, no file outside the cache is written. Their users
(postfix, postdrop, Debian-exim, opensmtpd, …) exist only in the passwd file of that root folder.
"""

from .exim import Exim
from .opensmtpd import OpenSmtpd
from .postfix import Postfix

ALL = {"postfix": Postfix, "exim": Exim, "opensmtpd": OpenSmtpd}
