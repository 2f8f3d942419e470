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
