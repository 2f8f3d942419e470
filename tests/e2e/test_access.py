"""Who comes in and how: TLS before the greeting, domains that are ours, what proxies say about a client."""

import socket
import ssl
import time

import pytest

from gatest import clients, corpus, need, ports, smtp


# TLS before the greeting (RFC 8314).

@pytest.fixture
def implicit(greenarrow, sink, certificate):
    """A daemon with a second listener, for TLS; `.tls_address`."""
    def make(service="", **arguments):
        port = ports.free_port()
        server = greenarrow(route=sink, service=f"tls_certificate_files {certificate[0]}, {certificate[1]}\nlisten_tls 127.0.0.1:{port}\n{service}",
                            **arguments)
        server.tls_address = ("127.0.0.1", port)
        return server

    return make


def test_tls_comes_before_the_greeting(implicit, sink):
    server = implicit()
    with smtp.Smtp(server.tls_address, tls=True) as client:
        assert client.banner.code == 220
        client.ehlo()
        assert "STARTTLS" not in client.extensions
        assert client.cmd("STARTTLS").code == 503
        client.envelope()
        assert client.data(corpus.simple()).code == 250
    assert b"with ESMTPS id" in sink.wait_messages(1)[0].wire
    with server.client() as client:
        assert client.banner.code == 220, "the other listener still speaks first"


def test_a_client_in_clear_hears_no_word_of_smtp(implicit):
    server = implicit()
    with smtp.Smtp(server.tls_address, read_banner=False) as client:
        client.send(b"EHLO client.example\r\n")
        answer = b""
        try:
            while more := client.sock.recv(4096):
                answer += more
        except ConnectionError:
            pass
    assert b"220" not in answer and len(answer) <= 7, f"more than a TLS alert: {answer!r}"
    server.submit()


def test_a_client_that_says_nothing_is_dropped_in_time(implicit):
    server = implicit("smtpd_tls_timeout 1s")
    with smtp.Smtp(server.tls_address, read_banner=False) as client:
        assert client.closed_by_server(10)


@pytest.mark.parametrize("alpn, taken", [((), True), (("smtp",), True), (("h2", "smtp"), True), (("http/1.1",), False), (("imap", "h2"), False)])
@pytest.mark.parametrize("how", ["listen_tls", "STARTTLS"])
def test_other_protocols_by_alpn_are_refused_in_the_handshake(implicit, how, alpn, taken):
    server = implicit()
    with smtp.Smtp(server.tls_address if how == "listen_tls" else server.address, read_banner=how == "STARTTLS") as client:
        if how == "STARTTLS":
            client.ehlo()
            assert client.cmd("STARTTLS").code == 220
        if taken:
            client.wrap(alpn)
            assert client.sock.selected_alpn_protocol() == ("smtp" if alpn else None)
            assert how == "STARTTLS" or client.reply().code == 220
            assert client.cmd("NOOP").code == 250
        else:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                client.wrap(alpn)
                client.sock.recv(1)


def test_a_browser_over_tls_gets_no_answer(implicit):
    with smtp.Smtp(implicit().tls_address, tls=True) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: mail.test.example\r\n\r\nEHLO evil.example\r\n")
        assert client.closed_by_server()


def test_old_protocols_are_refused(implicit):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(implicit().tls_address, timeout=10) as sock, pytest.raises((ssl.SSLError, ConnectionError)):
        context.wrap_socket(sock)


def test_a_service_may_have_tls_alone_and_needs_some_address(greenarrow, certificate):
    tls = f"tls_certificate_files {certificate[0]}, {certificate[1]}\n"
    server = greenarrow(start=False)
    for block, message in ((f"listen_tls 127.0.0.1:{ports.free_port()}", "listen_tls needs tls_certificate_files"),
                           (tls, "it lacks listen or listen_tls"), (f"{tls}listen_tls 127.0.0.1:{ports.free_port()}", "")):
        server.settings.top = "smtp_service smtps {\n" + block + "\n}\n"
        server.write_config()
        done = server.run("greenarrow_config", "validate")
        assert done.returncode == (1 if message else 0) and message in done.stderr
    server.start()


# Domains that are ours, postmaster, fields that submission adds.

STRANGER = "relay_from 192.0.2.1"


def rcpt(server, address):
    with server.client() as client:
        client.ehlo()
        assert client.cmd("MAIL FROM:<a@elsewhere.example>").code == 250
        return client.cmd(f"RCPT TO:<{address}>").code


def test_mail_for_relay_domains_is_taken_from_anyone(greenarrow, sink):
    server = greenarrow(route=sink, service=f"{STRANGER}\nrelay_domains receiver.example, *.below.example")
    assert rcpt(server, "b@receiver.example") == 250
    assert rcpt(server, "b@x.below.example") == 250
    for address in ("b@below.example", "b@other.example", "b@x.receiver.example", "b@receiver.example.other.example", "b%other.example@other.example",
                    "@receiver.example:b@other.example", '"b@receiver.example"@other.example', "receiver.example!b@other.example"):
        assert rcpt(server, address) == 550, address
    server.submit(recipients=["b@receiver.example"])
    sink.wait_messages(1)
    done = greenarrow(start=False, service="relay_domains receiver.example, *").run("greenarrow_config", "validate")
    assert done.returncode == 1 and "relay_domains *: not a domain" in done.stderr


def test_postmaster_lives_where_the_service_says(greenarrow, sink):
    server = greenarrow(route=sink, service=f"{STRANGER}\npostmaster_address hans@office.example")
    for address in ("postmaster", "PostMaster", "postmaster@mail.test.example"):
        with server.client() as client:
            client.ehlo()
            client.envelope(recipients=[address])
            assert client.data(corpus.simple()).code == 250
    assert [message.recipients for message in sink.wait_messages(3)] == [["hans@office.example"]] * 3
    done = greenarrow(start=False, service="postmaster_address hans").run("greenarrow_config", "validate")
    assert done.returncode == 1 and "postmaster_address hans: not an address" in done.stderr


def test_a_message_without_date_and_id_gets_them_on_services_that_ask_for_it(greenarrow, sink):
    server = greenarrow(route=sink, service="add_missing_headers yes")
    server.submit(b"Subject: x\r\n\r\nbody\r\n")
    head = sink.wait_messages(1)[0].wire.split(b"\r\n\r\n")[0]
    assert head.count(b"\r\nDate: ") == 1 and head.count(b"\r\nMessage-ID: <") == 1 and head.endswith(b"Subject: x")
    server.submit(corpus.simple())
    head = sink.wait_messages(2)[1].wire.split(b"\r\n\r\n")[0]
    assert head.lower().count(b"\r\nmessage-id: <") == 1


@pytest.mark.parametrize("hops, code", [(99, 250), (100, 250), (101, 554)])
def test_a_loop_is_seen_at_a_hundred_received_fields(greenarrow, sink, hops, code):
    server = greenarrow(route=sink)
    assert smtp.submit(server.address, b"Received: from a by b; x\r\n" * hops + b"Subject: x\r\n\r\nbody\r\n").code == code


# The PROXY protocol.

V2 = b"\r\n\r\n\0\r\nQUIT\n"


def v1(client="192.0.2.7"):
    return f"PROXY TCP{6 if ':' in client else 4} {client} {'::1' if ':' in client else '127.0.0.1'} 4711 25\r\n".encode()


def v2(client="192.0.2.7", command=0x21, tlvs=b""):
    family, kind = (socket.AF_INET6, 0x21) if ":" in client else (socket.AF_INET, 0x11)
    addresses = socket.inet_pton(family, client) * 2 + (4711).to_bytes(2, "big") + (25).to_bytes(2, "big") + tlvs
    return V2 + bytes([command, kind]) + len(addresses).to_bytes(2, "big") + addresses


PROXIED = "incoming_smtp_accept_proxy_protocol 127.0.0.1\nrelay_from 192.0.2.0/24, [2001:db8::]/32"


def behind(address, header, **arguments):
    """A client that comes through a proxy."""
    client = smtp.Smtp(address, read_banner=False, **arguments)
    client.send(header)
    return client


def start_behind_proxy(server):
    """Its own address must send the header too, so whether it answers is asked in another way than start() does."""
    server.spawn()
    server.wait_log("is ready")
    return server


@pytest.mark.parametrize("header, client", [
    (v1(), "[192.0.2.7]"), (v1("2001:db8::7"), "[IPv6:2001:db8::7]"), (v2(), "[192.0.2.7]"), (v2("2001:db8::7"), "[IPv6:2001:db8::7]"),
    (v2(tlvs=b"\x01\x00\x04smtp\x20\x00\x00"), "[192.0.2.7]"),
])
def test_the_client_is_who_the_proxy_names(greenarrow, sink, header, client):
    server = greenarrow(start=False, route=sink, service=PROXIED)
    start_behind_proxy(server)
    with behind(server.address, header) as connection:
        assert connection.reply().code == 220
        connection.ehlo()
        connection.envelope()       # it may relay
        assert connection.data(corpus.simple()).code == 250
    assert f"({client})".encode() in sink.wait_messages(1)[0].wire


def test_the_proxys_clients_are_held_to_their_own_addresses(greenarrow, sink):
    server = start_behind_proxy(greenarrow(start=False, route=sink, service=PROXIED + "\nmax_connections_per_client 1"))
    for header in (v1("198.51.100.7"), b"PROXY UNKNOWN\r\n", v2(command=0x20), V2 + b"\x21\x31\x00\x01x"):
        with behind(server.address, header) as client:
            assert client.reply().code == 220
            client.ehlo()
            assert client.cmd("MAIL FROM:<a@sender.example>").code == 250
            assert client.cmd("RCPT TO:<b@receiver.example>").code == 550, header
    with behind(server.address, v1("198.51.100.8")) as first:
        assert first.reply().code == 220
        with behind(server.address, v2("198.51.100.8")) as second:
            assert second.reply().code == 421
        with behind(server.address, v2("198.51.100.9")) as other:
            assert other.reply().code == 220


@pytest.mark.parametrize("header", [b"EHLO client.example\r\n", b"PROXY TCP4 192.0.2.7 x 1 2\r\n", b"PROXY " + b"x" * 200, V2 + b"\x31\x11\0\0", V2 + b"\x21\x11\xff\xff",
                                    V2 + b"\x21\x11\0\x04abcd", b"\x16\x03\x01\x02\x00" + b"x" * 512])
def test_a_proxy_that_sends_no_header_is_closed_and_logged(greenarrow, header):
    server = start_behind_proxy(greenarrow(start=False, service=PROXIED))
    with behind(server.address, header) as client:
        assert client.closed_by_server()
    server.wait_log(r"of proxy 127\.0\.0\.1: .*GA-SMTPD-0019")


def test_a_proxy_that_dawdles_is_closed(greenarrow):
    server = start_behind_proxy(greenarrow(start=False, service=PROXIED))
    with behind(server.address, v2()[:-1]) as client, behind(server.address, b"") as silent:
        assert client.closed_by_server(15)
        assert silent.closed_by_server(5)
    server.wait_log("no whole PROXY header within 10 s", times=2)


def test_others_may_not_send_the_header(greenarrow):
    server = greenarrow(service="incoming_smtp_accept_proxy_protocol 192.0.2.1\nrelay_from 192.0.2.7")
    with server.client() as client:
        assert client.cmd(v1().rstrip()).code == 500
    with behind(server.address, v1()) as client:
        assert client.reply().code in (220, 554)


def test_tls_comes_behind_the_header(greenarrow, sink, certificate):
    port = ports.free_port()
    server = start_behind_proxy(greenarrow(start=False, route=sink, service=f"{PROXIED}\ntls_certificate_files {certificate[0]}, {certificate[1]}\n"
                                           f"listen_tls 127.0.0.1:{port}"))
    for header in (v1(), v2()):
        with behind(("127.0.0.1", port), header) as client:
            client.wrap()
            assert client.reply().code == 220
            client.ehlo()
            client.envelope()
            assert client.data(corpus.simple()).code == 250
    for message in sink.wait_messages(2):
        assert b"([192.0.2.7])" in message.wire and b"with ESMTPS id" in message.wire


@pytest.mark.parametrize("arguments", [
    ["swaks", "--proxy-version", "1", "--proxy-family", "TCP4", "--proxy-source", "192.0.2.7", "--proxy-source-port", "4711", "--proxy-dest", "127.0.0.1", "--proxy-dest-port", "25"],
    ["swaks", "--proxy-version", "2", "--proxy-command", "PROXY", "--proxy-family", "AF_INET", "--proxy-protocol", "STREAM", "--proxy-source", "192.0.2.7", "--proxy-source-port",
     "4711", "--proxy-dest", "127.0.0.1", "--proxy-dest-port", "25"],
])
def test_swaks_speaks_for_another_by_proxy(greenarrow, sink, arguments):
    server = start_behind_proxy(greenarrow(start=False, route=sink, service=PROXIED))
    clients._run([need.program("swaks", "swaks"), *arguments[1:], "--server", f"{server.host}:{server.port}", "--from", clients.SENDER, "--to", "b@receiver.example",
                  "--ehlo", "client.example"])
    assert b"([192.0.2.7])" in sink.wait_messages(1)[0].wire


def test_curl_speaks_by_proxy(greenarrow, sink):
    server = start_behind_proxy(greenarrow(start=False, route=sink, service="incoming_smtp_accept_proxy_protocol 127.0.0.1"))
    clients._run([need.program("curl", "curl"), "-sS", "--haproxy-protocol", f"smtp://{server.host}:{server.port}/client.example", "--mail-from", clients.SENDER,
                  "--mail-rcpt", "b@receiver.example", "--upload-file", "-"], input=b"Subject: x\r\n\r\nbody\r\n")
    assert b"([127.0.0.1])" in sink.wait_messages(1)[0].wire


# XCLIENT.

def test_swaks_speaks_for_another_by_xclient(greenarrow, sink):
    server = greenarrow(route=sink, service="xclient_from 127.0.0.1\nrelay_from 192.0.2.7")
    clients._run([need.program("swaks", "swaks"), "--server", f"{server.host}:{server.port}", "--from", clients.SENDER, "--to", "b@receiver.example", "--ehlo", "client.example",
                  "--xclient-addr", "192.0.2.7", "--xclient-name", "c.example", "--xclient-port", "4711", "--xclient-helo", "h.example", "--xclient-proto", "ESMTP"])
    assert b"from client.example ([192.0.2.7])" in sink.wait_messages(1)[0].wire


def test_xclient_is_for_those_who_may(greenarrow):
    server = greenarrow(service="xclient_from 192.0.2.1")
    with server.client() as client:
        client.ehlo()
        assert "XCLIENT" not in client.extensions
        assert client.cmd("XCLIENT ADDR=192.0.2.7").code == 502


def test_a_login_by_xclient_is_one(greenarrow, sink):
    server = greenarrow(route=sink, service="xclient_from 127.0.0.1\nrelay_from 192.0.2.7\nrequire_auth yes")
    with server.client() as client:
        client.ehlo()
        assert client.extensions["XCLIENT"] == "NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"
        assert client.cmd("XCLIENT ADDR=198.51.100.7 LOGIN=ann+40example.com").code == 220
        client.ehlo()
        client.envelope()
        assert client.data(corpus.simple()).code == 250
        assert client.cmd("XCLIENT LOGIN=[UNAVAILABLE]").code == 220
        client.ehlo()
        assert client.cmd("MAIL FROM:<a@sender.example>").code == 530
    assert b"with ESMTPA id" in sink.wait_messages(1)[0].wire


# environment_file.

def test_the_environment_of_a_service_says_where_it_listens(greenarrow):
    server = greenarrow(start=False)
    path = server.folder / "control" / "smtp2"
    port, other = ports.free_port(), ports.free_port()
    marker = server.folder / "executed"
    server.settings.top = f"smtp_service smtp2 {{\nlisten 127.0.0.1:{port}\nenvironment_file smtp2\n}}\n"
    server.write_config()
    done = server.run("greenarrow_config", "validate")
    assert done.returncode == 1 and "environment_file" in done.stderr and "No such file" in done.stderr

    def listens(where):
        try:
            smtp.Smtp(where).close()
            return True
        except ConnectionError:
            return False

    path.write_text(f"# the second service\nexport PORT={other}\nexport CONCURRENCY='1'\nexport NOTE='$(touch {marker})'\n")
    server.start()
    assert listens(("127.0.0.1", other)) and not listens(("127.0.0.1", port))
    time.sleep(0.2)         # for the session that asked to be over
    with smtp.Smtp(("127.0.0.1", other)) as first, smtp.Smtp(("127.0.0.1", other)) as second:
        assert (first.banner.code, second.banner.code) == (220, 421)
    path.write_text("ENABLED=0\n")
    assert server.run("greenarrow_config", "reload").returncode == 0
    assert not listens(("127.0.0.1", other)) and not listens(("127.0.0.1", port))
    path.write_text("IPADDR=127.0.0.5\n")
    assert server.run("greenarrow_config", "reload").returncode == 0
    assert listens(("127.0.0.5", port)) and not listens(("127.0.0.1", port))
    path.write_text(f"export PORT=`touch {marker}`\n")
    server.expect_log("reload refused")
    done = server.run("greenarrow_config", "reload")
    assert done.returncode == 1 and f"{path}:1:13: " in done.stderr
    assert listens(("127.0.0.5", port)), "nothing has changed"
    assert not marker.exists()
