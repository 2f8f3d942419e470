"""No second message hides in a first one: only CR LF . CR LF ends a message, and nothing unclean is passed on.

The matrix: 23 sequences that some server took for the end of data, 2 strays, and 2 controls that do hold a genuine end.
"""

import base64
import subprocess

import pytest

from gatest import corpus, smtp

FALSE_ENDS = {
    "LF.LF": b"\n.\n", "LF.CRLF": b"\n.\r\n", "CRLF.LF": b"\r\n.\n", "CR.CR": b"\r.\r", "CR.LF": b"\r.\n", "LF.CR": b"\n.\r", "CR.CRLF": b"\r.\r\n",
    "CRLF.CR": b"\r\n.\r", "CRLF.CRCRLF": b"\r\n.\r\r\n", "CRCRLF.CRCRLF": b"\r\r\n.\r\r\n", "LFCR.LFCR": b"\n\r.\n\r", "CRLF.SP CRLF": b"\r\n. \r\n",
    "CRLF.TAB CRLF": b"\r\n.\t\r\n", "CRLF SP.CRLF": b"\r\n .\r\n", "CRLF NUL.CRLF": b"\r\n\0.\r\n", "CRLF.NUL CRLF": b"\r\n.\0\r\n", "CR NUL LF.CRLF": b"\r\0\n.\r\n",
    "CRLF.CR NUL LF": b"\r\n.\r\0\n", "CRLF.VT CRLF": b"\r\n.\v\r\n", "FF.FF": b"\f.\f", "NEL.NEL": b"\x85.\x85", "LS.LS": b"\xe2\x80\xa8.\xe2\x80\xa8", "CRLF..LF": b"\r\n..\n",
}
STRAYS = {"bare LF": b"one\ntwo", "bare CR": b"one\rtwo"}
CONTROLS = {"CRCRLF.CRLF": b"\r\r\n.\r\n", "NUL CRLF.CRLF": b"\0\r\n.\r\n"}
CLEAN = {"CRLF.SP CRLF", "CRLF.TAB CRLF", "CRLF SP.CRLF", "CRLF.VT CRLF", "FF.FF", "NEL.NEL", "LS.LS"}

SECOND = b"MAIL FROM:<evil@sender.example>\r\nRCPT TO:<victim@receiver.example>\r\nDATA\r\nSubject: smuggled\r\n\r\nsmuggled\r\n.\r\n"


def first(sequence):
    """Header, the sequence in the body, and behind it what a fooled server takes for a second transaction; the true end is the last line."""
    return b"Subject: outer\r\n\r\nbefore" + sequence + SECOND.removesuffix(b".\r\n").replace(b"DATA\r\n", b"DATA\r\n") + b".\r\n"


PROXY = "127.0.0.61"


def begin(server, way):
    """A session that came in this way, up to its EHLO."""
    client = server.client(source=(PROXY, 0), read_banner=False) if way == "proxied" else server.client()
    if way == "proxied":
        client.send(b"PROXY TCP4 127.0.0.62 127.0.0.1 4711 25\r\n")
        assert client.reply().code == 220
    client.ehlo()
    if way in ("tls", "authenticated"):
        client.starttls()
        client.ehlo()
    if way == "authenticated":
        assert client.cmd("AUTH PLAIN " + base64.b64encode(b"\0ann\0secret").decode()).code == 235
    return client


def converse(server, octets, way="plain"):
    """Send everything behind DATA in one write; the replies until the QUIT's."""
    with begin(server, way) as client:
        client.envelope()
        assert client.cmd("DATA").code == 354
        client.send(octets + b"QUIT\r\n")
        replies = []
        try:
            while not replies or replies[-1].code not in (221, 421):
                replies.append(client.reply())
        except smtp.Disconnected:
            pass
        return replies


def assert_clean(sink):
    """What left us holds CRLF line ends only, no NUL, and no recipient that the outer envelope did not name."""
    for message in sink.attempts:
        bare = message.stuffed.replace(b"\r\n", b"")
        assert b"\r" not in bare and b"\n" not in bare and b"\0" not in bare
        assert message.recipients == ["b@receiver.example"] and message.sender == "a@sender.example"


@pytest.fixture(scope="module", params=["plain", "tls", "authenticated", "proxied"])
def way(request):
    return request.param


@pytest.fixture
def server(greenarrow, sink, certificate):
    one = greenarrow(start=False, route=sink, service=f"tls_certificate_files {certificate[0]}, {certificate[1]}\nmax_errors 100\n"
                     f"smtp_auth optional\nincoming_smtp_accept_proxy_protocol {PROXY}")
    users = one.folder / "control" / "smtp_users"
    key = subprocess.run(["openssl", "passwd", "-6", "secret"], capture_output=True, text=True, check=True).stdout.strip()
    users.write_text(f"ann:{key}\n")
    users.chmod(0o640)
    return one.start()


def test_no_false_end_of_data_is_honoured(server, sink, way):
    """All 23 in one daemon: each is part of the one message, or makes it refused after its true end."""
    taken = 0
    for name, sequence in FALSE_ENDS.items():
        replies = converse(server, first(sequence), way)
        assert [reply.code for reply in replies][1:] == [221], f"{name}: {replies}: a second transaction was read out of the first"
        if name in CLEAN:
            assert replies[0].code == 250, f"{name}: {replies[0]}"
            taken += 1
        else:
            assert replies[0].code // 100 == 5, f"{name}: {replies[0]}"
    sink.wait_messages(taken)
    server.wait_empty()
    assert len(sink.messages) == taken
    assert_clean(sink)


def test_strays_are_refused_after_the_true_end_of_data(server, sink, way):
    for name, stray in STRAYS.items():
        replies = converse(server, b"Subject: stray\r\n\r\n" + stray + b"\r\n.\r\n", way)
        assert [(r.code, r.enhanced) for r in replies] == [(550, "5.6.0"), (221, "2.0.0")], f"{name}: {replies}"
    assert not sink.sessions


def test_the_controls_end_the_message_where_they_do(server, sink):
    for name, sequence in CONTROLS.items():
        replies = converse(server, b"Subject: control\r\n\r\nbefore" + sequence + b"NOOP\r\n")
        assert [r.code for r in replies][1:] == [250, 221], f"{name}: {replies}"
        assert replies[0].code // 100 == 5, f"{name} holds a stray octet"
    assert not sink.sessions


def test_normalize_rewrites_bare_line_ends_and_honours_none_of_them(greenarrow, sink):
    server = greenarrow(route=sink, service="bare_newlines normalize\nmax_errors 100")
    expected = 0
    for name, sequence in FALSE_ENDS.items():
        replies = converse(server, first(sequence))
        assert [reply.code for reply in replies][1:] == [221], f"{name}: {replies}"
        if b"\0" in sequence:
            assert replies[0].code // 100 == 5, f"{name}: {replies[0]}"
        else:
            assert replies[0].code == 250, f"{name}: {replies[0]}"
            expected += 1
    sink.wait_messages(expected)
    server.wait_empty()
    assert len(sink.messages) == expected
    assert_clean(sink)


def test_a_dot_line_made_by_normalizing_goes_out_stuffed(greenarrow, sink):
    server = greenarrow(route=sink, service="bare_newlines normalize")
    assert converse(server, b"Subject: x\r\n\r\na\n.\nb\r\n.\r\n")[0].code == 250
    message = sink.wait_messages(1)[0]
    assert message.wire.endswith(b"\r\n\r\na\r\n.\r\nb\r\n") and message.stuffed.endswith(b"\r\na\r\n..\r\nb\r\n")


@pytest.mark.parametrize("octets", [b"\0", b"\r\n.\0", b"a\0b"])
def test_a_nul_is_refused(server, sink, octets):
    replies = converse(server, b"Subject: x\r\n\r\n" + octets + b"\r\n.\r\n")
    assert [(r.code, r.enhanced) for r in replies][0] == (554, "5.6.0")


def test_text_behind_a_refused_data_is_never_taken_for_commands(greenarrow, sink):
    server = greenarrow(route=sink, service="relay_from 127.0.0.99/32")
    with server.client() as client:
        client.ehlo()
        client.send(b"MAIL FROM:<a@sender.example>\r\nRCPT TO:<b@receiver.example>\r\nDATA\r\n" + corpus.stuffed(b"Subject: x\r\n\r\nRSET\r\nNOOP\r\n"))
        codes = []
        try:
            while True:
                codes.append(client.reply().code)
        except smtp.Disconnected:
            pass
    assert codes[:3] == [250, 550, 554] and 250 not in codes[3:] and len(codes) <= 4, codes
