/*
 * test_utf8.c - internationalised mail (RFC 6531), see world.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dialogue.h"

#define UE "\xc3\xbc"
#define UE10 UE UE UE UE UE UE UE UE UE UE
#define X "\\x{FC}"
#define X10 X X X X X X X X X X
#define MAIL "MAIL FROM:<gr" UE "n@b" UE "cher.example> SMTPUTF8\r\n"
#define RCPT "RCPT TO:<bl" UE "te@stra\xc3\x9f" "e.example>\r\n"
#define BOTH "250 2.1.0 Sender OK\r\n250 2.1.5 Recipient OK\r\n"

static void
assert_has(struct ga_str text, const char *part)
{
	assert_non_null(memmem(text.p, text.n, part, strlen(part)));
}

static void
test_utf8_addresses_are_taken_and_routed_by_their_a_label(void **state)
{
	struct world *w = greeted("");
	const struct world_message *m;

	expect(w, MAIL RCPT CHUNK, BOTH "250 2.0.0 Queued");
	m = last_message(w);
	assert_str(m->sender, "gr" UE "n@b" UE "cher.example");
	assert_str(m->first.to, "bl" UE "te@stra\xc3\x9f" "e.example");
	assert_str(m->first.domain, "xn--strae-oqa.example");
	assert_int_equal(m->flags, GA_MSG_SMTPUTF8 | GA_MSG_BODY_8BITMIME | GA_MSG_8BIT | GA_MSG_8BIT_HEADER);
	assert_has(m->text, " with UTF8SMTP id ");
	assert_has(m->text, "for <bl" UE "te@stra\xc3\x9f" "e.example>");
	world_free(w);
}

static void
test_the_received_field_names_the_protocol(void **state)
{
	struct world *w = world_new("");

	w->gen->tls = (struct ga_tls_server *)(void *)w;
	world_connect(w);
	expect(w, HELLO "MAIL FROM:<a@example.org> SMTPUTF8\r\nRCPT TO:<b@example.net>\r\n" CHUNK, "220");
	assert_has(last_message(w)->text, " with UTF8SMTP id ");
	expect(w, ENVELOPE CHUNK, BOTH "250 2.0.0");
	assert_has(last_message(w)->text, " with ESMTP id ");
	expect(w, "STARTTLS\r\n", "220");
	expect(w, HELLO MAIL RCPT CHUNK, "250");
	assert_has(last_message(w)->text, " with UTF8SMTPS id ");
	expect(w, ENVELOPE CHUNK, BOTH "250 2.0.0");
	assert_has(last_message(w)->text, " with ESMTPS id ");
	w->gen->tls = NULL;
	world_free(w);
}

static void
test_utf8_needs_its_parameter(void **state)
{
	struct world *w = greeted("");

	expect(w, "MAIL FROM:<gr" UE "n@example.org>\r\n", "550 5.6.7");
	expect(w, "MAIL FROM:<a@b" UE "cher.example> BODY=8BITMIME\r\n", "550 5.6.7");
	expect(w, "DATA\r\n", "503 5.5.1 MAIL first");
	expect(w, "MAIL FROM:<a@xn--bcher-kva.example>\r\n", "250");
	expect(w, RCPT, "553 5.6.7");
	expect(w, "RCPT TO:<b@stra\xc3\x9f" "e.example>\r\n", "553 5.6.7");
	expect(w, "DATA\r\n", "554 5.5.1");
	expect(w, "RCPT TO:<b@xn--strae-oqa.example>\r\n", "250");
	expect(w, "RSET\r\nHELO c.example\r\n" MAIL, "250 2.0.0 OK\r\n250 test\r\n555 5.5.4");
	expect(w, "MAIL FROM:<gr" UE "n@example.org>\r\n", "550 5.6.7");
	world_free(w);
}

static void
test_the_parameter_has_no_value_and_comes_once(void **state)
{
	struct world *w = greeted("");

	expect(w, "MAIL FROM:<a@example.org> SMTPUTF8=\r\n", "501 5.5.4");
	expect(w, "MAIL FROM:<a@example.org> SMTPUTF8=yes\r\n", "501 5.5.4");
	expect(w, "MAIL FROM:<a@example.org> SMTPUTF8 smtputf8\r\n", "501 5.5.4");
	expect(w, "MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net> SMTPUTF8\r\n", "250 2.1.0 Sender OK\r\n555 5.5.4");
	world_free(w);
}

static void
test_what_is_not_utf8_is_refused(void **state)
{
	static const char *const wrong[] = {
		"\xfc", "\xc3", "\xc3\x28", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80",
		"\xf8\x88\x80\x80\x80", "\xff", "\xc2\x85", "\xbf",
	};
	struct world *w = greeted("max_errors 1000");
	char in[200];

	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		for (int at = 0; at < 2; at++) {
			const char *local = at ? "" : wrong[i], *domain = at ? wrong[i] : "";

			snprintf(in, sizeof in, "MAIL FROM:<a%s@b%s.example> SMTPUTF8\r\n", local, domain);
			expect(w, in, "501 5.1.7");
			snprintf(in, sizeof in, "MAIL FROM:<a%s@b%s.example>\r\n", local, domain);
			expect(w, in, "501 5.1.7");
			expect(w, MAIL, "250");
			snprintf(in, sizeof in, "RCPT TO:<a%s@b%s.example>\r\n", local, domain);
			expect(w, in, "501 5.1.3");
			expect(w, "DATA\r\n", "554 5.5.1");
			expect(w, "RSET\r\n", "250");
		}
	}
	world_free(w);
}

static void
test_a_utf8_domain_must_be_a_domain(void **state)
{
	struct world *w = greeted("");

	expect(w, MAIL, "250");
	expect(w, "RCPT TO:<a@\xe2\x80\xae.example>\r\n", "501 5.1.3");	/* a direction override */
	expect(w, "RCPT TO:<a@\xf0\x9f\x92\xa9\xe3\x80\x82" "b\xef\xbc\xa0" "c.example>\r\n", "501 5.1.3");
	world_free(w);
}

/* What VRFY says leaves no trace in the session. */
static void
test_vrfy_with_utf8(void **state)
{
	struct world *w = greeted("");

	expect(w, "VRFY gr" UE "n\r\n", "553 5.6.7");
	expect(w, "VRFY gr" UE "n SMTPUTF8\r\n", "252");
	expect(w, "VRFY <gr" UE "n@b" UE "cher.example> smtputf8\r\n", "252");
	expect(w, "VRFY gr\xfcn SMTPUTF8\r\n", "501 5.5.4");
	expect(w, "VRFY SMTPUTF8\r\n", "252");		/* somebody's name */
	expect(w, "DATA\r\n", "503");
	expect(w, "BDAT 2 LAST\r\n\r\n", "503");
	expect(w, ENVELOPE "VRFY gr" UE "n\r\n", BOTH "553 5.6.7");
	expect(w, RCPT, "553 5.6.7");
	expect(w, "VRFY gr" UE "n SMTPUTF8\r\n" RCPT, "252 2.5.0 Cannot verify, but will take mail and try to deliver it\r\n553 5.6.7");
	expect(w, CHUNK, "250 2.0.0 Queued");
	assert_int_equal(last_message(w)->flags, 0);
	expect(w, "HELO c.example\r\nVRFY gr" UE "n SMTPUTF8\r\n", "250 test\r\n553 5.6.7");
	world_free(w);
}

static void
test_the_flag_does_not_outlive_its_transaction(void **state)
{
	static const char *const ends[] = { "RSET\r\n", HELLO, "RCPT TO:<b@example.net>\r\n" CHUNK,
		"RCPT TO:<b@example.net>\r\nBDAT 1 LAST\r\n\n", "RCPT TO:<b@example.net>\r\nDATA\r\n\n\r\n.\r\n" };

	for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
		struct world *w = greeted("");

		expect(w, MAIL, "250");
		expect(w, ends[i], "");
		expect(w, "MAIL FROM:<a@example.org>\r\n" RCPT, "250 2.1.0 Sender OK\r\n553 5.6.7");
		world_free(w);
	}
}

static void
test_a_header_beyond_ascii_is_noted(void **state)
{
	static const struct { const char *chunk; unsigned flags; } rows[] = {
		{ "BDAT 7 LAST\r\na: " UE "\r\n", GA_MSG_8BIT | GA_MSG_8BIT_HEADER },
		{ "BDAT 10 LAST\r\na: b\r\n\r\n" UE, GA_MSG_8BIT },
		{ CHUNK, 0 },
	};
	struct world *w = greeted("");

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		expect(w, ENVELOPE, "250");
		expect(w, rows[i].chunk, "250");
		assert_int_equal(last_message(w)->flags, rows[i].flags);
	}
	world_free(w);
}

/* Kept in ASCII, so that it can be sent on to anybody. */
static void
test_orcpt_of_type_utf8(void **state)
{
	static const struct { const char *given, *kept; } rows[] = {
		{ "utf-8;gr" UE "n@example.com", "utf-8;gr\\x{FC}n@example.com" },
		{ "UTF-8;\xe2\x82\xac\xf0\x9f\x98\x80\xdf\xbf@example.com", "UTF-8;\\x{20AC}\\x{1F600}\\x{7FF}@example.com" },
		{ "utf-8;plain+2B@example.com", "utf-8;plain+@example.com" },
		{ "utf-8;\\x{FC}@example.com", "utf-8;\\x{FC}@example.com" },
		{ "utf-8;" UE10 UE10 UE10 UE10 UE10 UE10 UE10 UE10 "@example.com",
		    "utf-8;" X10 X10 X10 X10 X10 X10 X10 X10 "@example.com" },
		{ "utf-8;" UE10 UE10 UE10 UE10 UE10 UE10 UE10 UE10 UE10 "@example.com", "" },	/* too long to pass on */
		{ "rfc822;" UE "@example.com", NULL },
		{ "utf-8;" UE "+2B@example.com", NULL },
	};
	struct world *w = greeted("");
	char in[600];

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		expect(w, "MAIL FROM:<a@example.org> SMTPUTF8\r\n", "250");
		snprintf(in, sizeof in, "RCPT TO:<b@example.net> ORCPT=%s\r\n", rows[i].given);
		expect(w, in, rows[i].kept != NULL ? "250" : "501 5.5.4");
		if (rows[i].kept != NULL) {
			expect(w, CHUNK, "250");
			assert_str(last_message(w)->first.orcpt, rows[i].kept);
		}
		expect(w, "RSET\r\n", "250");
	}
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_utf8_addresses_are_taken_and_routed_by_their_a_label),
		cmocka_unit_test(test_the_received_field_names_the_protocol),
		cmocka_unit_test(test_utf8_needs_its_parameter),
		cmocka_unit_test(test_the_parameter_has_no_value_and_comes_once),
		cmocka_unit_test(test_what_is_not_utf8_is_refused),
		cmocka_unit_test(test_a_utf8_domain_must_be_a_domain),
		cmocka_unit_test(test_vrfy_with_utf8),
		cmocka_unit_test(test_the_flag_does_not_outlive_its_transaction),
		cmocka_unit_test(test_a_header_beyond_ascii_is_noted),
		cmocka_unit_test(test_orcpt_of_type_utf8),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
