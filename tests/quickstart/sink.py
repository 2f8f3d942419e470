#!/usr/bin/env python3
"""sink.py HOST:PORT FOLDER - an SMTP server that keeps what it is given

Each message becomes FOLDER/<local part of its first recipient>.eml, the octets
as they came over the wire with only the dot-stuffing undone.  A second message
for the same recipient gets .2, and so on: a duplicate must be seen.  Says yes
to everything; knows nothing that a relay does not need.
"""
import itertools
import os
import re
import socketserver
import sys


def unstuffed(line):
    return line[1:] if line.startswith(b".") else line


class Session(socketserver.StreamRequestHandler):
    sender = None

    def handle(self):
        self.recipients = []
        self.say("220 sink.quickstart.test ESMTP")
        for line in self.rfile:
            verb = line.split(b" ", 1)[0].strip().upper().decode("ascii", "replace")
            if verb == "QUIT":
                self.say("221 2.0.0 bye")
                return
            getattr(self, "on_" + verb.lower(), self.on_unknown)(line.rstrip(b"\r\n"))

    def say(self, *lines):
        self.wfile.write("".join(line + "\r\n" for line in lines).encode())

    def on_unknown(self, line):
        self.say("500 5.5.1 not here")

    def on_ehlo(self, line):
        self.say("250-sink.quickstart.test", "250-PIPELINING", "250-8BITMIME", "250 SIZE 104857600")

    def on_helo(self, line):
        self.say("250 sink.quickstart.test")

    def on_mail(self, line):
        self.recipients = []
        self.say("250 2.1.0 ok")

    def on_rcpt(self, line):
        address = re.search(rb"<([^>]*)>", line)
        self.recipients.append(address.group(1).decode("utf-8", "replace") if address else "")
        self.say("250 2.1.5 ok")

    def on_rset(self, line):
        self.recipients = []
        self.say("250 2.0.0 ok")

    def on_noop(self, line):
        self.say("250 2.0.0 ok")

    def on_data(self, line):
        if not self.recipients:
            self.say("503 5.5.1 RCPT first")
            return
        self.say("354 go ahead")
        body = []
        for line in self.rfile:
            if line == b".\r\n":
                self.keep(b"".join(body))
                self.recipients = []
                self.say("250 2.0.0 kept")
                return
            body.append(unstuffed(line))

    def keep(self, octets):
        name = re.sub(r"[^A-Za-z0-9._+-]", "_", self.recipients[0].split("@")[0]) or "nobody"
        for n in itertools.count(1):
            path = os.path.join(self.server.folder, name + (".eml" if n == 1 else f".{n}.eml"))
            if not os.path.exists(path):
                break
        # Under its name only when whole: whoever waits for it may read at once.
        with open(path + ".part", "xb") as f:
            f.write(octets)
        os.rename(path + ".part", path)
        print(f"kept {path}: {len(octets)} octets for {', '.join(self.recipients)}", flush=True)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def main():
    host, port = sys.argv[1].rsplit(":", 1)
    with Server((host, int(port)), Session) as server:
        server.folder = sys.argv[2]
        server.serve_forever()


if __name__ == "__main__":
    main()
