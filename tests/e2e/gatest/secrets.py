"""Passwords of the tests, and what would betray them: no log of the whole run may have any of it."""

import base64

PASSWORD = "correct horse battery"
CANARY = "Canary-77-Staple"


def traces(secret):
    """A password as it is, in base64 at any offset, and in hex as a hexdump has it."""
    secret = secret.encode()
    coded = [base64.b64encode(b"\0" * i + secret)[4 if i else 0:len(secret)] for i in range(3)]
    return [secret, *coded, *(bytes(code.hex(" "), "ascii") for code in (secret, *coded))]


FORBIDDEN = [trace for password in (PASSWORD, CANARY) for trace in traces(password)]


def betrayed(files):
    """(file, trace) of each trace that is in one of the files."""
    return [(str(path), trace) for path in files if path.is_file() for trace in FORBIDDEN if trace in path.read_bytes()]
