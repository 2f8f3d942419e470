"""Debian's OpenSMTPD as a receiver: accepts any recipient, delivers with its own maildir agent into one Maildir."""

from .jail import Jail
from .peer import Peer

SMTPD, SMTPQ, VMAIL = 24021, 24022, 24023

CONFIG = """listen on 127.0.0.1 port {port} hostname opensmtpd.test.example
table everyone {{ "@" = "vmail" }}
smtp max-message-size 100M
action "box" maildir "/mail/box" virtual <everyone>
match from any for any action "box"
"""


class OpenSmtpd(Peer):
    name = "opensmtpd"
    adds = ("Received", "Return-Path", "Delivered-To")

    def make_jail(self):
        return Jail("opensmtpd", ["opensmtpd"], [("opensmtpd", SMTPD), ("opensmtpq", SMTPQ), ("vmail", VMAIL)])

    def configure(self):
        self.jail.write("/etc/smtpd.conf", CONFIG.format(port=self.port))
        self.jail.fresh("/mail", VMAIL)
        self.jail.fresh("/var/spool/smtpd", 0, 0o711)
        self.jail.fresh("/var/lib/opensmtpd/empty", 0, 0o755)
        self.jail.write("/etc/mailname", "opensmtpd.test.example\n")

    def start(self, log):
        return self.jail.popen("/usr/sbin/smtpd", "-d", "-f", "/etc/smtpd.conf", stdout=log, stderr=log)
