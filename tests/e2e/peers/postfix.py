"""Debian's Postfix as a receiver: accepts any recipient, delivers with virtual(8) into one Maildir.

Everything that makes Postfix change a message on its way in is switched off (header rewriting for its own hosts,
dropped header fields), so that what lies in the Maildir is what came over the wire.
"""

import os

from .jail import Jail
from .peer import Peer

POSTFIX, POSTDROP, VMAIL = 24001, 24002, 24003

MAIN_CF = """compatibility_level = 3.6
queue_directory = /var/spool/postfix
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
data_directory = /var/lib/postfix
mail_owner = postfix
setgid_group = postdrop
myhostname = postfix.test.example
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
maillog_file = /var/log/peer.log
maillog_file_permissions = 0644
local_header_rewrite_clients =
message_drop_headers =
virtual_mailbox_domains = static:all
virtual_mailbox_maps = static:box/
virtual_mailbox_base = /mail
virtual_uid_maps = static:24003
virtual_gid_maps = static:24003
virtual_mailbox_limit = 0
message_size_limit = 0
header_size_limit = 1000000
smtpd_client_connection_count_limit = 0
default_process_limit = 30
alias_maps =
alias_database =
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_limit = 2000
"""

MASTER_CF = """127.0.0.1:{port} inet n - n - - smtpd
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp      unix  - - n - - smtp
relay     unix  - - n - - smtp
error     unix  - - n - - error
retry     unix  - - n - - error
discard   unix  - - n - - discard
local     unix  - n n - - local
virtual   unix  - n n - - virtual
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
"""

QUEUES = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace", "pid")


class Postfix(Peer):
    name = "postfix"
    adds = ("Received", "Return-Path", "Delivered-To", "X-Original-To")

    def make_jail(self):
        return Jail("postfix", ["postfix"], [("postfix", POSTFIX), ("postdrop", POSTDROP), ("vmail", VMAIL)])

    def configure(self):
        self.jail.write("/etc/postfix/main.cf", MAIN_CF)
        self.jail.write("/etc/postfix/master.cf", MASTER_CF.format(port=self.port))
        self.jail.fresh("/mail", VMAIL)
        self.jail.fresh("/var/lib/postfix", POSTFIX, 0o700)
        self.jail.fresh("/var/spool/postfix")
        for queue in QUEUES:
            self.jail.fresh(f"/var/spool/postfix/{queue}", 0 if queue == "pid" else POSTFIX, 0o755 if queue == "pid" else 0o700)
        for queue, mode in (("maildrop", 0o1730), ("public", 0o710)):
            path = self.jail.fresh(f"/var/spool/postfix/{queue}", POSTFIX, mode)
            os.chown(path, POSTFIX, POSTDROP)
            path.chmod(mode)

    def start(self, log):
        return self.jail.popen("/usr/lib/postfix/sbin/master", "-c", "/etc/postfix", "-d", stdout=log, stderr=log)
