/*
 * test_proxy.c - clients that come through somebody else: the PROXY header, XCLIENT.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../proxy_header.h"
#include "dialogue.h"

#define V2 "\r\n\r\n\0\r\nQUIT\n"
#define FOUR "\xc0\0\2\7\xc0\0\2\2\x12\x67\0\x19"	/* 192.0.2.7:4711 -> 192.0.2.2:25 */
#define SIX "\x20\1\r\xb8\0\0\0\0\0\0\0\0\0\0\0\7" "\x20\1\r\xb8\0\0\0\0\0\0\0\0\0\0\0\2" "\x12\x67\0\x19"

struct row {
	const char *p;
	size_t n;
	enum smtpd_proxy state;
	const char *peer, *local;
};
#define ROW(text, ...) { text, sizeof(text) - 1, __VA_ARGS__ }

/* --- the header --- */

static const struct row rows[] = {
	ROW("PROXY TCP4 192.0.2.7 192.0.2.2 4711 25\r\n", SMTPD_PROXY_NAMED, "192.0.2.7:4711", "192.0.2.2:25"),
	ROW("PROXY TCP6 2001:db8::7 ::1 0 65535\r\n", SMTPD_PROXY_NAMED, "[2001:db8::7]:0", "[::1]:65535"),
	ROW("PROXY UNKNOWN\r\n", SMTPD_PROXY_UNNAMED, "", ""),
	ROW("PROXY UNKNOWN whatever it says\r\n", SMTPD_PROXY_UNNAMED, "", ""),
	ROW(V2 "\x21\x11\0\x0c" FOUR, SMTPD_PROXY_NAMED, "192.0.2.7:4711", "192.0.2.2:25"),
	ROW(V2 "\x21\x21\0\x24" SIX, SMTPD_PROXY_NAMED, "[2001:db8::7]:4711", "[2001:db8::2]:25"),
	/* TLVs: ALPN, an empty one */
	ROW(V2 "\x21\x11\0\x16" FOUR "\1\0\4smtp\4\0\0", SMTPD_PROXY_NAMED, "192.0.2.7:4711", "192.0.2.2:25"),
	/* LOCAL, with and without addresses; a family that is not known, UNIX, UDP */
	ROW(V2 "\x20\0\0\0", SMTPD_PROXY_UNNAMED, "", ""), ROW(V2 "\x20\x11\0\x0c" FOUR, SMTPD_PROXY_UNNAMED, "", ""),
	ROW(V2 "\x21\0\0\0", SMTPD_PROXY_UNNAMED, "", ""), ROW(V2 "\x21\x31\0\3abc", SMTPD_PROXY_UNNAMED, "", ""),
	ROW(V2 "\x21\x12\0\x0c" FOUR, SMTPD_PROXY_UNNAMED, "", ""), ROW(V2 "\x21\x7f\0\1x", SMTPD_PROXY_UNNAMED, "", ""),

	ROW("PROXY TCP4 192.0.2.7 192.0.2.2 4711\r\n", SMTPD_PROXY_BAD, "", ""),
	ROW("PROXY TCP4 192.0.2.7 192.0.2.2 4711 25 \r\n", SMTPD_PROXY_BAD, "", ""),
	ROW("PROXY TCP4 192.0.2.7 192.0.2.2 4711 25\n", SMTPD_PROXY_BAD, "", ""),
	ROW("PROXY TCP4  192.0.2.7 192.0.2.2 4711 25\r\n", SMTPD_PROXY_BAD, "", ""),
	ROW("PROXY TCP4 192.0.2.007 192.0.2.2 4711 25\r\n", SMTPD_PROXY_BAD, "", ""),
	ROW("PROXY TCP4 192.0.2 192.0.2.2 4711 25\r\n", SMTPD_PROXY_BAD, "", ""),
	ROW("PROXY TCP4 2001:db8::7 ::1 4711 25\r\n", SMTPD_PROXY_BAD, "", ""),
	ROW("PROXY TCP6 192.0.2.7 192.0.2.2 4711 25\r\n", SMTPD_PROXY_BAD, "", ""),
	ROW("PROXY TCP4 192.0.2.7\0 192.0.2.2 4711 25\r\n", SMTPD_PROXY_BAD, "", ""),
	ROW("PROXY TCP4 192.0.2.7 192.0.2.2 65536 25\r\n", SMTPD_PROXY_BAD, "", ""),
	ROW("PROXY TCP4 192.0.2.7 192.0.2.2 -1 25\r\n", SMTPD_PROXY_BAD, "", ""),
	ROW("PROXY TCP4 192.0.2.7 192.0.2.2 0x19 25\r\n", SMTPD_PROXY_BAD, "", ""),
	ROW("PROXY TCP4 192.0.2.7 192.0.2.2 025 25\r\n", SMTPD_PROXY_BAD, "", ""),
	ROW("PROXY TCP5 192.0.2.7 192.0.2.2 4711 25\r\n", SMTPD_PROXY_BAD, "", ""),
	ROW("PROXY tcp4 192.0.2.7 192.0.2.2 4711 25\r\n", SMTPD_PROXY_BAD, "", ""),
	ROW("PROXY \r\n        ", SMTPD_PROXY_BAD, "", ""), ROW("PROXY\r\n", SMTPD_PROXY_BAD, "", ""),
	ROW("proxy TCP4 192.0.2.7 192.0.2.2 4711 25\r\n", SMTPD_PROXY_BAD, "", ""),
	ROW("PROXY TCP4 xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	    "xxxxxxxxxxxxxxx\r\n", SMTPD_PROXY_BAD, "", ""),
	ROW("EHLO client.example\r\n", SMTPD_PROXY_BAD, "", ""), ROW("\x16\3\1", SMTPD_PROXY_BAD, "", ""),
	ROW("\0", SMTPD_PROXY_BAD, "", ""),
	ROW(V2 "\x11\x11\0\x0c" FOUR, SMTPD_PROXY_BAD, "", ""), ROW(V2 "\x22\x11\0\x0c" FOUR, SMTPD_PROXY_BAD, "", ""),
	ROW(V2 "\x21\x11\0\x0b" FOUR, SMTPD_PROXY_BAD, "", ""), ROW(V2 "\x21\x21\0\x0c" FOUR, SMTPD_PROXY_BAD, "", ""),
	ROW(V2 "\x21\x11\xff\xff", SMTPD_PROXY_BAD, "", ""), ROW(V2 "\x21\x11\0\0", SMTPD_PROXY_BAD, "", ""),
	ROW(V2 "\x21\x11\0\x0e" FOUR "\1\0", SMTPD_PROXY_BAD, "", ""),
	ROW(V2 "\x21\x11\0\x13" FOUR "\1\0\5smtp", SMTPD_PROXY_BAD, "", ""),
	ROW("\r\n\r\n\0\r\nQUIX\n\x21\x11\0\x0c" FOUR, SMTPD_PROXY_BAD, "", ""),

	ROW("", SMTPD_PROXY_MORE, "", ""), ROW("P", SMTPD_PROXY_MORE, "", ""), ROW("\r", SMTPD_PROXY_MORE, "", ""),
	ROW("PROXY TCP4 192.0.2.7 192.0.2.2 4711 25\r", SMTPD_PROXY_MORE, "", ""), ROW(V2, SMTPD_PROXY_MORE, "", ""),
	ROW(V2 "\x21\x11\0\x0c" "\xc0", SMTPD_PROXY_MORE, "", ""),
};

static void
test_headers_of_both_versions(void **state)
{
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const struct row *r = &rows[i];
		struct smtpd_proxy_header h;
		char text[GA_SOCKADDR_TEXT], behind[512];

		if (smtpd_proxy_parse(r->p, r->n, &h) != r->state)
			fail_msg("row %zu: \"%.60s\"", i, r->p);
		if (r->state == SMTPD_PROXY_MORE)
			continue;
		if (r->state == SMTPD_PROXY_NAMED) {
			assert_string_equal(ga_sockaddr_text(&h.peer, true, text), r->peer);
			assert_string_equal(ga_sockaddr_text(&h.local, true, text), r->local);
		}
		if (r->state == SMTPD_PROXY_BAD)
			continue;
		/* what comes behind it is not its own */
		assert_int_equal(h.used, r->n);
		memcpy(behind, r->p, r->n);
		memcpy(behind + r->n, "EHLO x\r\n", 8);
		assert_int_equal(smtpd_proxy_parse(behind, r->n + 8, &h), r->state);
		assert_int_equal(h.used, r->n);
		/* and no beginning of it is one */
		for (size_t n = 0; n < r->n; n++)
			assert_int_equal(smtpd_proxy_parse(r->p, n, &h), SMTPD_PROXY_MORE);
	}
}

/* --- a session behind it --- */

static struct ga_ev_connect seen;

static enum ga_verdict
see_connect(struct ga_call *c, const struct ga_ev_connect *ev)
{
	seen = *ev;
	return GA_PASS;
}

static struct world *
proxied(const char *statements)
{
	struct world *w = world_new(statements);

	w->proxied = true;
	memset(&seen, 0, sizeof seen);
	world_hook(w, GA_HOOK_connect, (void (*)(void))see_connect);
	world_connect(w);
	return w;
}

static void
end(struct world *w)
{
	world_hook(w, GA_HOOK_connect, NULL);
	world_free(w);
}

static void
test_the_client_is_who_the_header_names_however_it_is_cut(void **state)
{
	for (size_t i = 0; rows[i].state == SMTPD_PROXY_NAMED; i++)
		for (size_t piece = 1; piece < 70; piece += 3) {
			struct world *w = proxied("");
			char port[8], name[60];

			w->piece = piece;
			expect(w, "", "");
			expect_n(w, rows[i].p, rows[i].n, "220 test\r\n");
			expect(w, HELLO "MAIL FROM:<>\r\nRCPT TO:<postmaster>\r\nDATA\r\n.\r\n", "250");
			snprintf(name, sizeof name, "%.*s", (int)seen.peer.text.n, seen.peer.text.p);
			snprintf(port, sizeof port, ":%u", seen.peer.port);
			assert_non_null(strstr(rows[i].peer, name));
			assert_non_null(strstr(rows[i].peer, port));
			assert_non_null(strstr(w->messages[0].text.p, name));
			assert_non_null(strstr(rows[i].local, (snprintf(port, sizeof port, ":%u", seen.local.port), port)));
			end(w);
		}
}

static void
test_what_is_no_header_is_the_end(void **state)
{
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct world *w;

		if (rows[i].state != SMTPD_PROXY_BAD)
			continue;
		w = proxied("");
		expect_n(w, rows[i].p, rows[i].n, "");
		assert_string_equal(world_heard(w), "");
		assert_true(!w->connected || rows[i].n < 20);	/* the shortest may yet go on */
		assert_null(seen.s);
		end(w);
	}
}

static void
test_nothing_behind_the_header_is_taken_from_tls(void **state)
{
	struct world *w = world_new("");

	w->proxied = w->tls_first = true;
	world_connect(w);
	w->holds_tls = true;
	world_say(w, "PROXY TCP4 192.0.2.7 192.0.2.2 4711 25\r\n\x16\3\1hello");
	assert_true(w->tls_wanted);
	assert_int_equal(w->nsend, 8);			/* for the handshake to read */
	w->holds_tls = false;
	expect(w, "", "220 test\r\n");
	world_free(w);
}

static void
test_whom_the_proxy_names_nobody_may_relay_for_its_address(void **state)
{
	struct world *w = proxied("relay_from 0.0.0.0/0\n");

	expect(w, "PROXY UNKNOWN\r\n", "220 test\r\n");
	expect(w, HELLO "MAIL FROM:<>\r\n", "250-test\r\n250 SIZE\r\n250");
	expect(w, "RCPT TO:<b@example.net>\r\n", "550 5.7.1");
	world_disconnect(w);
	world_connect(w);
	expect(w, "PROXY TCP4 192.0.2.7 192.0.2.2 4711 25\r\n", "220 test\r\n");
	expect(w, HELLO "MAIL FROM:<>\r\n", "250");
	expect(w, "RCPT TO:<b@example.net>\r\n", "250 2.1.5");
	end(w);
}

static void
test_clients_of_a_proxy_are_counted_each(void **state)
{
	struct world *w = proxied("max_connections_per_client 2\n");
	struct smtpd_client *client[3];
	struct ga_sockaddr peer;

	assert_true(ga_sockaddr_parse(&peer, GA_STR("192.0.2.7:1"), 0));
	assert_true(smtpd_limits_count(&w->service.limits, &peer, 2, &client[0]));
	expect(w, "PROXY TCP4 192.0.2.7 192.0.2.2 4711 25\r\n", "220 test\r\n");
	assert_false(smtpd_limits_count(&w->service.limits, &peer, 2, &client[1]));
	world_disconnect(w);
	assert_true(smtpd_limits_count(&w->service.limits, &peer, 2, &client[1]));
	world_connect(w);
	expect(w, "PROXY TCP4 192.0.2.7 192.0.2.2 4711 25\r\n", "421 4.7.0");
	assert_int_equal(atomic_load(&w->service.count.refused), 1);
	world_disconnect(w);
	world_connect(w);
	expect(w, "PROXY TCP4 192.0.2.8 192.0.2.2 4711 25\r\n", "220 test\r\n");
	smtpd_limits_uncount(client[0]);
	smtpd_limits_uncount(client[1]);
	end(w);
}

static void
test_a_proxied_client_that_speaks_early_is_refused(void **state)
{
	struct world *w = proxied("");

	expect(w, "PROXY TCP4 192.0.2.7 192.0.2.2 4711 25\r\nEHLO client.example\r\n", "554 5.5.0");
	end(w);
}

/* --- XCLIENT --- */

static struct world *
allowed(const char *relay_from)
{
	char text[100];
	struct world *w;

	snprintf(text, sizeof text, "xclient_from 192.0.2.1\nrelay_from %s\n", relay_from);
	w = world_new(text);

	w->relays = false;
	memset(&seen, 0, sizeof seen);
	world_hook(w, GA_HOOK_connect, (void (*)(void))see_connect);
	world_connect(w);
	expect(w, "", "220 test\r\n");
	return w;
}

static void
try_to_relay(struct world *w, const char *answer)
{
	expect(w, HELLO "MAIL FROM:<>\r\n", "250");
	expect(w, "RCPT TO:<b@example.net>\r\n", answer);
}

static void
test_xclient_begins_anew_as_another_client(void **state)
{
	struct world *w = allowed("127.0.0.1");

	expect(w, HELLO, "250-test\r\n250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT\r\n250 SIZE\r\n");
	expect(w, "XCLIENT NAME=c.example ADDR=192.0.2.7 PORT=4711 DESTADDR=IPV6:2001:db8::2 DESTPORT=587\r\n", "220 test\r\n");
	assert_true(ga_str_eq(seen.peer.text, GA_STR("192.0.2.7")) && seen.peer.port == 4711);
	assert_true(ga_str_eq(seen.local.text, GA_STR("2001:db8::2")) && seen.local.port == 587);
	expect(w, "MAIL FROM:<>\r\n", "503 5.5.1");		/* EHLO first */
	expect(w, HELLO "MAIL FROM:<>\r\n", "250");
	expect(w, "XCLIENT ADDR=192.0.2.8\r\n", "503 5.5.1");	/* not now */
	expect(w, "RCPT TO:<b@example.net>\r\n", "550");
	expect(w, "RCPT TO:<postmaster>\r\nDATA\r\n.\r\n", "250");
	assert_non_null(strstr(w->messages[0].text.p, "([192.0.2.7])"));
	expect(w, "XCLIENT ADDR=IPV6:2001:db8::7 LOGIN=ann HELO=h.example PROTO=SMTP\r\n", "220 test\r\n");
	expect(w, "MAIL FROM:<>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n.\r\n", "250");	/* it said HELO */
	assert_non_null(strstr(w->messages[1].text.p, "from h.example ([IPv6:2001:db8::7])\r\n\tby"));
	assert_non_null(strstr(w->messages[1].text.p, " with SMTP id"));
	expect(w, "XCLIENT LOGIN=[UNAVAILABLE]\r\n", "220 test\r\n");
	try_to_relay(w, "550");
	end(w);
}

static void
test_a_client_without_address_may_not_relay_for_that_of_the_proxy(void **state)
{
	struct world *w = allowed("0.0.0.0/0");

	expect(w, "XCLIENT ADDR=[UNAVAILABLE]\r\n", "220");
	try_to_relay(w, "550");
	/* nor when the rest of what is known comes in a command of its own */
	expect(w, "RSET\r\nXCLIENT PORT=4711 PROTO=ESMTP\r\n", "250 2.0.0 OK\r\n220");
	try_to_relay(w, "550");
	expect(w, "RSET\r\nXCLIENT ADDR=192.0.2.9\r\n", "250 2.0.0 OK\r\n220");
	try_to_relay(w, "250");
	end(w);
}

static void
test_another_client_does_not_have_the_login_of_the_one_before(void **state)
{
	struct world *w = allowed("127.0.0.1");

	expect(w, "XCLIENT ADDR=192.0.2.7 LOGIN=ann\r\n", "220");
	expect(w, "XCLIENT NAME=c.example PORT=4711\r\n", "220");	/* still the same */
	try_to_relay(w, "250");
	expect(w, "RSET\r\nXCLIENT ADDR=192.0.2.8\r\n", "250 2.0.0 OK\r\n220");
	try_to_relay(w, "550");
	end(w);
}

static void
test_whom_the_proxy_names_nobody_may_not_say_xclient(void **state)
{
	struct world *w = proxied("xclient_from 0.0.0.0/0\nrelay_from 192.0.2.7\n");

	expect(w, "PROXY UNKNOWN\r\n", "220 test\r\n");
	expect(w, "XCLIENT ADDR=192.0.2.7\r\n", "502 5.5.1");
	end(w);
}

static void
test_xclient_that_is_not_well_formed_changes_nothing(void **state)
{
	static const char *const bad[] = {
		"", "ADDR", "ADDR=", "ADDR=192.0.2", "ADDR=192.0.2.7:25", "ADDR=[192.0.2.7]", "ADDR=IPV6:", "ADDR=IPV6:x",
		"ADDR=localhost", "PORT=65536", "PORT=-1", "PORT=x", "PROTO=HTTP", "NAME=a+20b", "HELO=a+0Ab", "FOO=bar",
		"ADDR=192.0.2.7 ADDR=192.0.2.8", "ADDR=192.0.2.7 FOO=bar", "LOGIN=a+3Ab", "LOGIN=+", "DESTADDR=x",
		"LOGIN=a+00", "ADDR=192.0.2.7+0d+0a",
	};
	struct world *w = allowed("127.0.0.1");
	char line[200];

	w->conf.max_errors = 1000;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		snprintf(line, sizeof line, "XCLIENT %s\r\n", bad[i]);
		expect(w, line, "501 5.5.4");
		assert_true(ga_str_eq(seen.peer.text, GA_STR("192.0.2.1")));
	}
	end(w);
}

static void
test_others_do_not_know_xclient(void **state)
{
	struct world *w = greeted("xclient_from 192.0.2.2\n");

	expect(w, HELLO, "250-test\r\n250 SIZE\r\n");
	expect(w, "XCLIENT ADDR=192.0.2.7\r\n", "502 5.5.1");
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_headers_of_both_versions),
		cmocka_unit_test(test_the_client_is_who_the_header_names_however_it_is_cut),
		cmocka_unit_test(test_what_is_no_header_is_the_end),
		cmocka_unit_test(test_nothing_behind_the_header_is_taken_from_tls),
		cmocka_unit_test(test_whom_the_proxy_names_nobody_may_relay_for_its_address),
		cmocka_unit_test(test_clients_of_a_proxy_are_counted_each),
		cmocka_unit_test(test_a_proxied_client_that_speaks_early_is_refused),
		cmocka_unit_test(test_xclient_begins_anew_as_another_client),
		cmocka_unit_test(test_a_client_without_address_may_not_relay_for_that_of_the_proxy),
		cmocka_unit_test(test_another_client_does_not_have_the_login_of_the_one_before),
		cmocka_unit_test(test_whom_the_proxy_names_nobody_may_not_say_xclient),
		cmocka_unit_test(test_xclient_that_is_not_well_formed_changes_nothing),
		cmocka_unit_test(test_others_do_not_know_xclient),
	};

	return cmocka_run_group_tests_name("proxy", tests, NULL, NULL);
}
