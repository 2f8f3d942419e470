"""Who comes in and how: TLS before the greeting, domains that are ours, what proxies say about a client."""

import socket
import ssl

import pytest

from gatest import corpus, ports, smtp


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
