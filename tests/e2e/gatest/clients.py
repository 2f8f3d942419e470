"""Clients written by others, each handing in one message: swaks, msmtp, Python's smtplib, nodemailer.

Each takes one message for any number of recipients in one transaction. The message is given as it has to be on the wire, and each has to bring it to the wire unchanged; where a client by habit adds
or removes header fields, that is switched off here.
"""

import json
import smtplib
import subprocess
import tempfile

from . import corpus, need

SENDER = "a@sender.example"


def _run(command, **options):
    done = subprocess.run(command, capture_output=True, timeout=120, **options)
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{(done.stdout + done.stderr).decode(errors='replace')[-3000:]}"
    return done.stdout


def _file(wire):
    file = tempfile.NamedTemporaryFile(prefix="ga-message-", suffix=".eml")
    file.write(wire)
    file.flush()
    return file


def swaks(address, wire, recipients, sender=SENDER):
    # Without its "fixup" (which rebuilds headers and expands tokens) swaks sends FILE as it is, dots and end included,
    # and adds one line end.
    with _file(corpus.stuffed(wire).removesuffix(b"\r\n")) as file:
        _run([need.program("swaks", "swaks"), "--server", f"{address[0]}:{address[1]}", "--ehlo", "client.example", "--from", sender,
              "--to", ",".join(recipients), "--suppress-data", "--timeout", "60", "--no-data-fixup", "--data", f"@{file.name}"])


def msmtp(address, wire, recipients, sender=SENDER):
    # msmtp wants a file of the local kind: LF line ends.
    _run([need.program("msmtp", "msmtp"), "--file=/dev/null", f"--host={address[0]}", f"--port={address[1]}", "--domain=client.example",
          f"--from={sender}", "--set-from-header=off", "--set-date-header=off", "--set-msgid-header=off", "--remove-bcc-headers=off",
          "--undisclosed-recipients=off", "--", *recipients], input=wire.replace(b"\r\n", b"\n"))


def smtplib_client(address, wire, recipients, sender=SENDER):
    with smtplib.SMTP(*address, local_hostname="client.example", timeout=60) as client:
        client.sendmail(sender, list(recipients), wire)


NODEMAILER = """
const nodemailer = require('nodemailer');
const fs = require('fs');
const [host, port, from, to, file, dsn] = process.argv.slice(2);
const transport = nodemailer.createTransport({host, port: Number(port), secure: false, ignoreTLS: true, name: 'client.example'});
transport.sendMail({envelope: {from, to: to.split(',')}, raw: fs.readFileSync(file), dsn: JSON.parse(dsn)}).then(
    info => { console.log(info.response); transport.close(); },
    error => { console.error(error); process.exit(1); });
"""


def nodemailer(address, wire, recipients, sender=SENDER, dsn=None):
    with _file(wire) as file:
        _run([need.program("node", "nodejs"), str(_nodemailer_script()), address[0], str(address[1]), sender, ",".join(recipients), file.name,
              json.dumps(dsn)])


def nodemailer_folder():
    """nodemailer comes from npm, once, into the cache folder."""
    from peers import jail
    folder = jail.cache() / "nodemailer"
    with jail.Lock("nodemailer"):
        if not (folder / "node_modules/nodemailer/package.json").exists():
            folder.mkdir(exist_ok=True)
            npm = need.program("npm", "npm")
            done = subprocess.run([npm, "install", "--no-audit", "--no-fund", "--silent", "nodemailer@6"], cwd=folder, capture_output=True,
                                  text=True, timeout=180)
            if done.returncode != 0:
                need.missing(f"nodemailer (npm install failed: {done.stderr.strip()[-300:]})")
    return folder


def _nodemailer_script():
    script = nodemailer_folder() / "send.js"
    script.write_text(NODEMAILER)
    return script


def smtp_source(address, postfix, count=1, size=4096, sessions=1, recipient="b@receiver.example", sender=SENDER):
    """Postfix's load generator, from the unpacked package; it makes its own messages."""
    process = postfix.jail.popen("/usr/sbin/smtp-source", "-m", str(count), "-l", str(size), "-s", str(sessions), "-f", sender,
                                 "-t", recipient, f"inet:{address[0]}:{address[1]}", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, out.decode(errors="replace")


ALL = {"swaks": swaks, "msmtp": msmtp, "smtplib": smtplib_client, "nodemailer": nodemailer}
