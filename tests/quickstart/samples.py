#!/usr/bin/env python3
"""samples.py HOST:PORT DOMAIN SAMPLES SENT RECEIVED - send every sample and see that it arrives

Sends each SAMPLES/*.eml to <its name>@DOMAIN through the server, keeps the
octets sent in SENT, waits until sink.py has put a message of that name into
RECEIVED, and compares: what arrived must be what was sent, behind nothing but
trace lines that the server put on top (Received, Return-Path).
"""
import pathlib
import re
import smtplib
import sys
import time

WAIT_SECONDS = 60
TRACE_LINE = re.compile(rb"\A(?:Received|Return-Path):[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*", re.IGNORECASE)


def as_on_the_wire(octets):
    """Files may have the line ends of text files; SMTP ends the last line, too."""
    octets = re.sub(rb"\r?\n", b"\r\n", octets)
    return octets if octets.endswith(b"\r\n") else octets + b"\r\n"


def send(server, name, domain, octets):
    options = ["BODY=8BITMIME"] if any(octet > 127 for octet in octets) else []
    server.sendmail(f"quickstart@{domain}", [f"{name}@{domain}"], octets, mail_options=options)


def without_trace(received, sent):
    """Take lines off the top that the message did not have; at least one must be there."""
    added = 0
    while received != sent:
        line = TRACE_LINE.match(received)
        if not line or len(received) <= len(sent):
            break
        received = received[line.end():]
        added += 1
    return received, added


def difference(sent, received):
    at = next((i for i, (a, b) in enumerate(zip(sent, received)) if a != b), min(len(sent), len(received)))
    return f"octet {at}: sent {sent[at:at + 24]!r}, arrived {received[at:at + 24]!r}"


def verdict(sent, path, end):
    while not path.exists():
        if time.monotonic() > end:
            return "did not arrive"
        time.sleep(0.05)
    if path.with_suffix(".2.eml").exists():
        return "arrived twice"
    received, added = without_trace(path.read_bytes(), sent)
    if received != sent:
        return difference(sent, received)
    if not added:
        return "has no Received line"
    return None


def main():
    address, domain, samples, sent_folder, received_folder = sys.argv[1:6]
    host, port = address.rsplit(":", 1)
    files = sorted(pathlib.Path(samples).glob("*.eml"))
    if not files:
        print(f"    no samples in {samples}")
        return 1
    sent = {}
    with smtplib.SMTP(host, int(port), timeout=30) as server:
        server.ehlo("client.quickstart.example")
        for file in files:
            octets = as_on_the_wire(file.read_bytes())
            send(server, file.stem, domain, octets)
            pathlib.Path(sent_folder, file.name).write_bytes(octets)
            sent[file.stem] = octets
    print(f"    {len(sent)} messages accepted")

    failed = 0
    end = time.monotonic() + WAIT_SECONDS
    for name, octets in sent.items():
        wrong = verdict(octets, pathlib.Path(received_folder, name + ".eml"), end)
        print(f"    {name:32} {len(octets):8} octets  {wrong or 'the same'}")
        failed += wrong is not None
    print(f"    {len(sent) - failed} of {len(sent)} arrived octet for octet")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
