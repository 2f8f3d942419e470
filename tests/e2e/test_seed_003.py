"""The document "Logging SMTP Sessions in GreenArrow", from its top to its bottom, as it is printed.

On a machine of its own (gatest/house.py) with what `make install` leaves: files are edited where it says, commands are run
by a shell as it prints them, and logs are looked for where it says they are.
"""

import re
import signal
import subprocess
import threading
import time

from gatest import badsink, corpus, daemon, house, need
from gatest.smtp import Smtp

SESSION_LINE = 'grep " ([0-9]*) "'


class Operator:
    """A shell of root's, with the daemon running as it was installed."""

    def __init__(self):
        self.daemon = None

    def __enter__(self):
        self.write("control/greenarrow.conf", SETTINGS)
        self.daemon = subprocess.Popen([house.HOME / "sbin/greenarrowd", "--foreground"], stdin=subprocess.DEVNULL, env=daemon.environment())
        self.eventually(lambda: self.sh("greenarrow status").returncode == 0)
        return self

    def __exit__(self, *_):
        self.daemon.send_signal(signal.SIGTERM)
        assert self.daemon.wait(30) == 0

    def sh(self, command, **options):
        return subprocess.run(["bash", "-c", f". {house.HOME}/etc/profile\n{command}"], capture_output=True, text=True, timeout=60,
                              env=daemon.environment(), **options)

    def run(self, command):
        """Its standard output; it must succeed."""
        done = self.sh(command)
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def write(self, name, text):
        """Append to a file below /var/hvmail."""
        with open(house.HOME / name, "a") as file:
            file.write(text)

    def replace(self, name, old, new):
        path = house.HOME / name
        text = path.read_text()
        assert old in text, f"{old!r} is not in {name}"
        path.write_text(text.replace(old, new))

    @staticmethod
    def read(log):
        """What is in a log directory; nothing was rotated away yet."""
        path = house.HOME / "log" / log / "current"
        return path.read_text() if path.exists() else ""

    @staticmethod
    def eventually(true, what="what was waited for"):
        end = time.monotonic() + 20
        while not true():
            assert time.monotonic() < end, f"{what} did not come"
            time.sleep(0.05)

    def followed(self, pipeline, expected):
        """What `tail -F … | …` has shown when EXPECTED is in it."""
        process = subprocess.Popen(["bash", "-c", f". {house.HOME}/etc/profile\n{pipeline}"], stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, text=True, start_new_session=True, env=daemon.environment())
        shown = []
        late = threading.Timer(30, house.kill_group, [process])
        late.start()
        try:
            for line in process.stdout:
                shown.append(line)
                if expected in line:
                    return "".join(shown)
            raise AssertionError(f"{expected!r} is not in\n{''.join(shown)}")
        finally:
            late.cancel()
            house.kill_group(process)


SETTINGS = """
general {
  run_as_user root
  default_virtual_mta ip-1
  # where they are by themselves in a build for /var/hvmail
  control_directory /var/hvmail/control
  log_directory /var/hvmail/log
  service_directory /var/hvmail/service
}
ip_address ip-1 {
  mta_id 1
  smtp_source 127.0.0.2 mail1.test.example
}
domain example.com {
  smtp_route 127.0.0.9:25
}
domain other.example {
  smtp_route 127.0.0.10:25
}
"""


def inject(recipients, source=None, subject="x", port=587):
    with Smtp(("127.0.0.1", port), source=source and (source, 0)) as client:
        client.ehlo()
        client.envelope(recipients=recipients)
        assert client.data(corpus.simple(subject, body=f"Body of {subject}.\r\n")).code == 250
        client.cmd("QUIT")


def sessions(text):
    """Numbers of the sessions that a log's lines are about."""
    return set(re.findall(r" \((\d+)\) ", text))


LOG2 = "tail -n +1 -F /var/hvmail/log/qmail-smtpd2/current | tai64nlocal"


def restart(operator):
    """As printed; svc does not wait for what comes of it, the log of the daemon says so."""
    restarted = "smtp_service smtp2: restarted"
    before = operator.read("greenarrow").count(restarted)
    operator.run("svc -tu /service/hvmail-qmail-smtpd2")
    operator.eventually(lambda: operator.read("greenarrow").count(restarted) > before, restarted)


def log_commands_of_a_service(operator):
    inject(["b@example.com"], subject="before")
    operator.write("control/smtp2", "export GREENARROW_LOG_SMTP_COMMANDS=\n")
    restart(operator)
    inject(["b@example.com"], subject="commands-only")
    shown = operator.followed(LOG2, "> 221 ")
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{9} smtpd: \(\d+\) < MAIL FROM:<a@sender\.example>$", shown, re.M), shown
    assert re.search(r" smtpd: \(\d+\) > 250 2\.0\.0 ", shown) and "Body of" not in shown
    assert len(sessions(shown)) == 1, "the one before the restart is in it"


def log_commands_of_one_client(operator):
    operator.replace("control/smtp2", "\nexport GREENARROW_LOG_SMTP_COMMANDS=\n", "\n")
    restart(operator)
    operator.write("control/smtp.tcp", '1.2.3.4:allow,RELAYCLIENT=""\n')
    operator.run("/var/hvmail/bin/hvmail_update_tcprules smtp")
    inject(["b@example.com"], source="1.2.3.4")
    operator.replace("control/smtp.tcp", '1.2.3.4:allow,RELAYCLIENT=""', '1.2.3.4:allow,RELAYCLIENT="",GREENARROW_LOG_SMTP_COMMANDS=""')
    operator.write("control/smtp.tcp", '1.2.3.5:allow,GREENARROW_LOG_SMTP_COMMANDS=""\n')
    operator.run("/var/hvmail/bin/hvmail_update_tcprules smtp")
    before = sessions(operator.read("qmail-smtpd2"))
    inject(["b@example.com"])
    inject(["b@example.com"], source="1.2.3.4", subject="of-one-client")
    with Smtp(("127.0.0.1", 587), source=("1.2.3.5", 0)) as client:
        client.ehlo()
        assert client.cmd("MAIL FROM:<a@sender.example>").code == 250
        assert client.cmd("RCPT TO:<b@example.com>").code == 550, "logging gives no right to relay"
    operator.eventually(lambda: "550 " in operator.read("qmail-smtpd2"))
    text = operator.read("qmail-smtpd2")
    assert len(sessions(text) - before) == 2 and " connect 1.2.3.4:" in text and " connect 1.2.3.5:" in text
    assert "Body of" not in text


def log_messages_too(operator):
    operator.write("control/smtp2", "export GREENARROW_LOG_SMTP_COMMANDS=\nexport GREENARROW_LOG_SMTP_MESSAGE=\n")
    restart(operator)
    inject(["b@example.com"], subject="of-all")
    assert "Body of of-all." in operator.followed(LOG2, "Body of of-all.")
    operator.replace("control/smtp2", "\nexport GREENARROW_LOG_SMTP_COMMANDS=\nexport GREENARROW_LOG_SMTP_MESSAGE=\n", "\n")
    restart(operator)


def log_messages_of_one_client(operator):
    operator.replace("control/smtp.tcp", '1.2.3.4:allow,RELAYCLIENT="",GREENARROW_LOG_SMTP_COMMANDS=""',
                     '1.2.3.4:allow,RELAYCLIENT="",GREENARROW_LOG_SMTP_COMMANDS="",GREENARROW_LOG_SMTP_MESSAGE=""')
    operator.replace("control/smtp.tcp", '1.2.3.5:allow,GREENARROW_LOG_SMTP_COMMANDS=""',
                     '1.2.3.5:allow,GREENARROW_LOG_SMTP_COMMANDS="",GREENARROW_LOG_SMTP_MESSAGE=""')
    operator.run("/var/hvmail/bin/hvmail_update_tcprules smtp")
    inject(["b@example.com"], source="1.2.3.4", subject="of-one-client-whole")
    assert "Body of of-one-client-whole." in operator.followed(LOG2, "Body of of-one-client-whole.")


def log_outgoing_commands(operator):
    operator.write("control/greenarrow.conf", """
ip_address * {
domain example.com {
log_smtp_commands yes
}
}
""")
    operator.run("greenarrow_config validate && greenarrow_config reload")
    inject(["c@other.example"], subject="not-logged")
    inject(["c@example.com"], subject="logged")
    pipeline = f"tail -n +1 -F /var/hvmail/log/rspawn-limiter/current | tai64nlocal | {SESSION_LINE.replace('grep', 'grep --line-buffered')}"
    shown = operator.followed(pipeline, "< 221 ")
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{9} remote_smtp: \(\d+\) > RCPT TO:<c@example\.com>", shown, re.M), shown
    assert "other.example" not in shown and "Body of" not in shown
    assert len(sessions(shown)) == 1


def find_an_attempt(operator):
    """hvmail_report says when it was, logdir_select_time what was said."""
    shown = operator.run('hvmail_report -q all --last "10 minutes" --processed-logfile --human -r @example.com')
    lines = shown.splitlines()
    assert lines and all("recipient=<" in line and "@example.com>" in line for line in lines), shown
    found = re.match(r"timestamp=<(\d+)\.\d+> channel=<remote> status=<success> is_retry=<0> .*msguid=<\d+\.\d{8}> ", lines[-1])
    assert found, lines[-1]
    operator.eventually(lambda: "remote_limiter:" in operator.read("rspawn-limiter"), "a status line")
    start, end = int(found.group(1)) - 20, int(found.group(1)) + 10
    select = f'logdir_select_time --start "{start}" --end "{end}" --dir /var/hvmail/log/rspawn-limiter | tai64nlocal'
    everything = operator.run(f"{select} | less")
    assert "remote_limiter:" in everything and "RCPT TO:<c@example.com>" in everything
    of_sessions = operator.run(f"{select} | {SESSION_LINE}")
    assert "RCPT TO:<c@example.com>" in of_sessions and "remote_limiter:" not in of_sessions and "other.example" not in of_sessions
    nothing = f'logdir_select_time --start "{start - 86400}" --end "{end - 86400}" --dir /var/hvmail/log/rspawn-limiter'
    assert operator.run(nothing) == ""


@house.of_its_own("1.2.3.4/32", "1.2.3.5/32")
def test_the_document_on_logging_smtp_sessions_as_it_is_printed():
    need.program("less", "less")
    with badsink.BadSink(host="127.0.0.9", port=25) as example, badsink.BadSink(host="127.0.0.10", port=25) as other, Operator() as operator:
        log_commands_of_a_service(operator)
        log_commands_of_one_client(operator)
        log_messages_too(operator)
        log_messages_of_one_client(operator)
        log_outgoing_commands(operator)
        find_an_attempt(operator)
        assert example.messages and len(other.messages) == 1
