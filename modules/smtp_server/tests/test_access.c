/*
 * test_access.c - who comes in and what is done for them: TLS before the greeting, domains
 * that are ours, postmaster, fields that are added.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../headers.h"
#include "dialogue.h"

/* Nobody is greeted before TLS is there, and nobody's address counts as one of ours. */
static struct world *
stranger(const char *statements)
{
	struct world *w = world_new(statements);

	w->relays = false;
	world_connect(w);
	expect(w, HELLO, "220 test\r\n250-");
	return w;
}

/* --- TLS before the greeting --- */

static struct ga_ev_connect connected_as;

static enum ga_verdict
see_connect(struct ga_call *c, const struct ga_ev_connect *ev)
{
	connected_as = *ev;
	return GA_PASS;
}

static void
test_tls_comes_before_the_greeting_and_the_connect_hook(void **state)
{
	struct world *w = world_new("");

	w->tls_first = true;
	w->relays = false;
	world_hook(w, GA_HOOK_connect, (void (*)(void))see_connect);
	world_connect(w);
	assert_true(w->tls_wanted);
	assert_string_equal(world_heard(w), "");
	assert_null(connected_as.s);
	expect(w, "", "220 test\r\n");
	assert_true(w->tls_on);
	assert_true(connected_as.tls);
	assert_true(ga_str_eq(connected_as.peer.text, GA_STR("192.0.2.1")));
	expect(w, HELLO, "250-test\r\n250-REQUIRETLS\r\n250 SIZE");	/* no STARTTLS */
	expect(w, "STARTTLS\r\n", "503 5.5.1");
	world_disconnect(w);
	w->tls_first = false;
	world_connect(w);
	assert_false(connected_as.tls);
	world_hook(w, GA_HOOK_connect, NULL);
	world_free(w);
}

/* --- relay_domains --- */

static void
test_domains_by_name_and_by_what_is_below(void **state)
{
	static const struct { const char *domain; bool match; } rows[] = {
		{ "example.com", true }, { "EXAMPLE.com", true }, { "a.example.com", false }, { "xample.com", false },
		{ "example.net", false }, { "a.example.net", true }, { "a.b.example.net", true },
		{ "aexample.net", false }, { "example.org", true }, { "a.b.example.org", true },
		{ "aexample.org", false }, { "both.example", true }, { "x.both.example", true },
		{ "org", false }, { "xn--bcher-kva.example", true }, { "com", false },
	};
	struct world *w = stranger("relay_domains Example.com, *.example.net, [*.]example.org\n"
	    "relay_domains both.example, *.both.example, \"bücher.example\"\n");
	char text[200];

	expect(w, "MAIL FROM:<a@elsewhere.example>\r\n", "250");
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		snprintf(text, sizeof text, "RCPT TO:<b@%s>\r\n", rows[i].domain);
		expect(w, text, rows[i].match ? "250 2.1.5" : "550 5.7.1");
	}
	world_free(w);
}

static void
test_patterns_that_are_none(void **state)
{
	static const char *const bad[] = { "*", "", "*.", "[*.]", "a..b", "mx:example.com", "*.*.example", "a b" };
	struct ga_pool *pool = ga_pool_new(0);

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct ga_str one = ga_str_c(bad[i]), which = { NULL, 0 };
		struct ga_strlist list = { &one, 1 };

		if (smtpd_domains_new(pool, &list, &which) != NULL)
			fail_msg("`%s` was taken", bad[i]);
		assert_true(ga_str_eq(which, one));
	}
	ga_pool_free(pool);
}

/* --- postmaster --- */

static void
test_postmaster_is_always_there_and_goes_where_he_lives(void **state)
{
	struct world *w = stranger("postmaster_address hans@office.example\n");

	expect(w, "MAIL FROM:<>\r\nRCPT TO:<PostMaster>\r\nDATA\r\n", "250 2.1.0 Sender OK\r\n250 2.1.5");
	expect(w, TEXT ".\r\n", "250");
	assert_true(ga_str_eq(w->messages[0].rcpts, GA_STR("hans@office.example")));
	expect(w, "MAIL FROM:<>\r\n", "250");
	expect(w, "RCPT TO:<hans@office.example>\r\n", "550");	/* he himself is not open to all */
	expect(w, "RCPT TO:<postmaster@elsewhere.example>\r\n", "550");
	world_free(w);
}

/* --- missing header fields --- */

static struct smtpd_header_found
look(const char *text, size_t header, size_t chunk)
{
	struct ga_body *body = ga_body_new();
	struct smtpd_header_found found;

	for (size_t i = 0; i < strlen(text); i += chunk)
		ga_body_append(body, text + i, strlen(text) - i < chunk ? strlen(text) - i : chunk);
	found = smtpd_header_look(body, header);
	ga_body_unref(body);
	return found;
}

static void
test_fields_are_found_by_their_names(void **state)
{
	static const struct { const char *text; bool date, id; } rows[] = {
		{ "Date: x\r\nMessage-ID: <a@b>\r\n\r\n", true, true },
		{ "dAtE:x\r\nmessage-id:\r\n\r\n", true, true }, { "Date : x\r\n\r\n", true, false },
		{ "Subject: x\r\n Date: y\r\n\r\n", false, false }, { "Subject: Date: y\r\n\r\n", false, false },
		{ "X-Date: x\r\nDates: y\r\nMessage-IDx: z\r\nDat: e\r\n\r\n", false, false },
		{ "Da te: x\r\n\r\n", false, false }, { "", false, false }, { "Date", false, false },
		{ "Message-ID\t: <a@b>\r\n\r\n", false, true }, { "\tDate: x\r\n\r\n", false, false },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct smtpd_header_found f = look(rows[i].text, SIZE_MAX, 1000);

		if (f.date != rows[i].date || f.message_id != rows[i].id)
			fail_msg("\"%s\": %d %d", rows[i].text, f.date, f.message_id);
	}
	assert_false(look("A: b\r\n\r\nDate: x\r\n", 8, 1000).date);	/* a body is no header */
}

static void
test_fields_are_added_where_they_are_missing(void **state)
{
	struct world *w = greeted("add_missing_headers yes\n");
	const char *text;

	expect(w, BEGIN, "250");
	expect(w, "Subject: x\r\n\r\nDate: body\r\n.\r\n", "250");
	text = w->messages[0].text.p;
	assert_non_null(strstr(text, "\r\nDate: "));
	assert_non_null(strstr(text, "\r\nMessage-ID: <"));
	assert_true(strstr(text, "Message-ID") < strstr(text, "Subject: x"));
	assert_int_equal(w->messages[0].header_size, w->messages[0].text.n - strlen("Date: body\r\n"));
	expect(w, BEGIN, "250");
	expect(w, "Date: today\r\nMessage-Id: <a@b.example>\r\n\r\n.\r\n", "250");
	text = w->messages[1].text.p;
	assert_null(strstr(strstr(text, "Date:") + 1, "Date:"));
	assert_null(strcasestr(strcasestr(text, "Message-Id:") + 1, "Message-Id:"));
	world_free(w);
	w = greeted("");
	expect(w, BEGIN, "250");
	expect(w, "Subject: x\r\n\r\n.\r\n", "250");
	assert_null(strstr(w->messages[0].text.p, "Date:"));
	world_free(w);
}

static void
test_fields_are_found_in_a_header_longer_than_a_piece(void **state)
{
	struct world *w = greeted("add_missing_headers yes\n");
	char *text = large(400000);

	memcpy(text + 10, text, 10);		/* its header does not end there */
	expect(w, BEGIN, "250");
	world_send(w, text, 400000);
	expect(w, "Date: x\r\nMessage-ID: <a@b.example>\r\n\r\n", "");
	world_send(w, text, 400003);
	assert_non_null(strstr(world_heard(w), "250 2.0.0"));
	assert_null(memmem(w->messages[0].text.p, 400, "Message-ID", 10));	/* none on top */
	free(text);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tls_comes_before_the_greeting_and_the_connect_hook),
		cmocka_unit_test(test_domains_by_name_and_by_what_is_below),
		cmocka_unit_test(test_patterns_that_are_none),
		cmocka_unit_test(test_postmaster_is_always_there_and_goes_where_he_lives),
		cmocka_unit_test(test_fields_are_found_by_their_names),
		cmocka_unit_test(test_fields_are_added_where_they_are_missing),
		cmocka_unit_test(test_fields_are_found_in_a_header_longer_than_a_piece),
	};

	return cmocka_run_group_tests_name("access", tests, NULL, NULL);
}
