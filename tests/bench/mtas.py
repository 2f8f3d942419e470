"""The mail servers that `run` measures, each a class with the same few methods.

A class starts its server for one case, with an empty queue, relaying everything to one sink, and names the processes
whose CPU time counts. To add one: derive from Mta, write start(), and put it into ALL.

Postfix runs from Debian's package, unpacked into a root folder of its own (tests/e2e/peers/jail.py) and is never installed.
"""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

from gatest import ports
from peers.jail import Jail

TICK = os.sysconf("SC_CLK_TCK")
ACCEPT, RELAY = "accept", "relay"


class Failed(Exception):
    """The benchmark cannot go on; the text says why."""


def children_of(root_pid):
    """root_pid and all its descendants."""
    parent = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = pathlib.Path(f"/proc/{entry}/stat").read_text()
            except OSError:
                continue
            parent[int(entry)] = int(stat.rpartition(")")[2].split()[1])
    found = {root_pid}
    while True:
        more = {pid for pid, above in parent.items() if above in found} - found
        if not more:
            return found
        found |= more


class Mta:
    """One server. `work` is a folder on the disk to be measured."""

    name = None

    def __init__(self, work):
        self.work = work
        self.process = None
        self.port = None

    def start(self, case, sink_port):
        """Empty the queue, start, and return when the greeting comes."""
        raise NotImplementedError

    def tuning(self):
        """What was set for speed, one line."""
        raise NotImplementedError

    def pids(self):
        return children_of(self.process.pid)

    def cpu_seconds(self):
        """CPU time of all processes of the server, of those that have ended too (their parent's cutime, cstime)."""
        ticks = 0
        for pid in self.pids():
            try:
                fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            ticks += sum(int(field) for field in fields[11:15])
        return ticks / TICK

    def stop(self):
        if self.process is None:
            return
        for sig in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, sig)
            except ProcessLookupError:
                break
            try:
                self.process.wait(30)
                break
            except subprocess.TimeoutExpired:
                continue
        self.process.wait()
        self.process = None
        time.sleep(0.3)

    def wait_for_greeting(self, log, timeout=30):
        end = time.monotonic() + timeout
        while time.monotonic() < end and self.process.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=5) as conn:
                    if conn.recv(4).startswith(b"220"):
                        conn.sendall(b"QUIT\r\n")
                        return
            except OSError:
                time.sleep(0.05)
        text = log.read_text(errors="replace")[-3000:] if log.exists() else "(no output)"
        raise Failed(f"{self.name} does not answer on 127.0.0.1:{self.port}:\n{text}")


class Postfix(Mta):
    """As fast as it could be made: over loopback a new connection a message costs it less than its connection cache."""

    name = "postfix"
    user, group = 24001, 24002
    connection_cache = "no"

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
alias_maps =
alias_database =
local_header_rewrite_clients =
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions = {restrictions}
# No look-ups of names: the sink is an address, the clients are on loopback.
smtpd_peername_lookup = no
smtp_dns_support_level = disabled
relayhost = [127.0.0.1]:{sink}
default_process_limit = 200
smtp_destination_concurrency_limit = 20
default_destination_concurrency_limit = 20
initial_destination_concurrency = 20
smtp_connection_cache_on_demand = {cache}
max_use = 100000
qmgr_message_active_limit = 100000
qmgr_message_recipient_limit = 100000
in_flow_delay = 0
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
message_size_limit = 0
"""

    MASTER_CF = """127.0.0.1:{port} inet n - n - - smtpd
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
smtp      unix  - - n - - smtp
relay     unix  - - n - - smtp
error     unix  - - n - - error
retry     unix  - - n - - error
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
tlsmgr    unix  - - n 1000? 1 tlsmgr
"""

    QUEUES = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace")

    def __init__(self, work):
        super().__init__(work)
        self.jail = Jail(f"bench-{self.name}", ["postfix"], [("postfix", self.user), ("postdrop", self.group)])

    def tuning(self):
        return (f"default_process_limit 200, destination concurrency 20 from the start, connection cache "
                f"on demand: {self.connection_cache}, max_use 100000, in_flow_delay 0, active queue 100000, no DNS, no anvil limits, no log file; "
                "accept: every message put on hold by an access rule (qmgr never sees it)")

    def _queue(self):
        self.jail.fresh("/var/lib/postfix", self.user, 0o700)
        self.jail.fresh("/var/spool/postfix")
        self.jail.fresh("/var/spool/postfix/pid")
        for queue in self.QUEUES:
            self.jail.fresh(f"/var/spool/postfix/{queue}", self.user, 0o700)
        for queue, mode in (("maildrop", 0o1730), ("public", 0o710)):
            path = self.jail.fresh(f"/var/spool/postfix/{queue}", self.user, mode)
            os.chown(path, self.user, self.group)
            path.chmod(mode)

    def start(self, case, sink_port):
        self.port = ports.free_port()
        restrictions = "check_client_access static:HOLD" if case == ACCEPT else ""
        self.jail.write("/etc/postfix/main.cf", self.MAIN_CF.format(restrictions=restrictions, sink=sink_port,
                                                                    cache=self.connection_cache))
        self.jail.write("/etc/postfix/master.cf", self.MASTER_CF.format(port=self.port))
        self._queue()
        log = self.work / f"{self.name}.out"
        with open(log, "wb") as out:
            self.process = self.jail.popen("/usr/lib/postfix/sbin/master", "-c", "/etc/postfix", "-d", stdout=out, stderr=out)
        self.wait_for_greeting(log)


class PostfixCached(Postfix):
    """With its connections to the sink used again."""

    name = "postfix-cached"
    connection_cache = "yes"


class GreenArrow(Mta):
    name = "greenarrowd"

    CONF = """{modules}
general {{
	hostname greenarrow.test.example
	default_virtual_mta ip-1
	workers auto
	run_as_user root
	control_directory {home}/control
	queue_directory {home}/queue
	log_directory {home}/log
	run_directory {home}/run
	module_directory {prefix}/lib/greenarrow/modules
}}
smtp_service bench {{
	listen 127.0.0.1:{port}
	relay_from 127.0.0.0/8
}}
ip_address ip-1 {{
	mta_id 1
	smtp_source 127.0.0.1 mail.example.test
}}
ip_address * {{
	delivery_paused {paused}
	reuse_connections yes
	reuse_connections_max_messages 1000
	{everywhere}
	domain * {{
		smtp_route 127.0.0.1:{sink}
	}}
}}
"""
    MODULES = ("spool", "queue", "route", "throttle", "smtp_server", "smtp_client", "transport_direct")
    EVERYWHERE = ""

    def __init__(self, work, prefix):
        super().__init__(work)
        self.prefix = pathlib.Path(prefix).resolve()
        self.home = work / "greenarrow"
        self.daemon = self.prefix / "sbin/greenarrowd"
        if not self.daemon.exists():
            raise Failed(f"{self.daemon} does not exist: --prefix is the folder that make install put it in")

    def tuning(self):
        return f"workers auto, reuse_connections_max_messages 1000; accept: delivery_paused yes; {self.EVERYWHERE}"

    def start(self, case, sink_port):
        self.port = ports.free_port()
        shutil.rmtree(self.home, ignore_errors=True)
        for folder in ("control", "queue", "log", "run"):
            (self.home / folder).mkdir(parents=True)
        conf = self.home / "control/greenarrow.conf"
        conf.write_text(self.CONF.format(modules="\n".join(f"load_module {name}" for name in self.MODULES), home=self.home,
                                         everywhere=self.EVERYWHERE, prefix=self.prefix, port=self.port, sink=sink_port,
                                         paused="yes" if case == ACCEPT else "no"))
        self.conf = conf
        log = self.work / "greenarrowd.out"
        with open(log, "wb") as out:
            self.process = subprocess.Popen([self.daemon, f"--config-filename={conf}", "--foreground"], stdin=subprocess.DEVNULL,
                                            stdout=out, stderr=out, start_new_session=True)
        self.wait_for_greeting(log)


class WithLogs(GreenArrow):
    """The modules that log are loaded, and asked for nothing: what the others below are measured against."""

    name = "greenarrowd-log-off"
    MODULES = ("service_log", "smtp_log", *GreenArrow.MODULES)


class LogsCommands(WithLogs):
    name = "greenarrowd-log-commands"
    EVERYWHERE = "log_smtp_commands yes"


class LogsFailures(WithLogs):
    name = "greenarrowd-log-failures"
    EVERYWHERE = "log_smtp_on_failure yes"


class LogsDeliveries(WithLogs):
    name = "greenarrowd-log-deliveries"
    MODULES = (*WithLogs.MODULES, "delivery_log")


class Shipped(GreenArrow):
    """All that the shipped greenarrow.conf loads."""

    name = "greenarrowd-shipped"
    MODULES = ("service_log", "smtp_log", "spool", "queue", "route", "throttle", "svc", "smtp_server", "tcp_rules", "smtp_client",
               "transport_direct", "smtp_patterns", "delivery_log", "bounce", "explain")


UNPACKED = {server.name: server for server in (Postfix, PostfixCached)}
OURS = {server.name: server for server in (GreenArrow, WithLogs, LogsCommands, LogsFailures, LogsDeliveries, Shipped)}


def make(name, work, prefix):
    if name in OURS:
        return OURS[name](work, prefix)
    if name in UNPACKED:
        return UNPACKED[name](work)
    raise Failed(f"no server is called {name}; there are {', '.join([*UNPACKED, *OURS])}")
