/*
 * test_dsn.c - the parameters of delivery status notifications (RFC 3461), see world.h.
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

#define X10 "xxxxxxxxxx"
#define X100 X10 X10 X10 X10 X10 X10 X10 X10 X10 X10

static void
assert_attr(const struct world *w, unsigned key, const char *text)
{
	struct ga_str v;

	assert_int_equal(ga_attr_get(last_message(w)->attrs, key, &v), text != NULL);
	if (text != NULL)
		assert_str(v, text);
}

static void
test_ret_and_envid_are_kept(void **state)
{
	static const struct { const char *params, *ret, *envid; } rows[] = {
		{ "", NULL, NULL },
		{ " RET=FULL", "FULL", NULL },
		{ " ret=hdrs envid=QQ314159", "HDRS", "QQ314159" },
		{ " ENVID=+41+20+2B+3Db SIZE=5 BODY=8BITMIME RET=HDRS", "HDRS", "A +=b" },
		{ " ENVID=" X100, NULL, X100 },
		{ " ENVID=a;b,c<d>\"e\"\\", NULL, "a;b,c<d>\"e\"\\" },
	};
	struct world *w = greeted("");
	char in[600];

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		snprintf(in, sizeof in, "MAIL FROM:<a@example.org>%s\r\n", rows[i].params);
		expect(w, in, "250 2.1.0");
		expect(w, "RCPT TO:<b@example.net>\r\n" CHUNK, "250 2.1.5 Recipient OK\r\n250 2.0.0 Queued");
		assert_attr(w, GA_ATTR_RET, rows[i].ret);
		assert_attr(w, GA_ATTR_ENVID, rows[i].envid);
		assert_str(last_message(w)->sender, "a@example.org");
	}
	world_free(w);
}

static void
test_notify_and_orcpt_are_kept_for_each_recipient(void **state)
{
	static const struct { const char *params; uint32_t notify; const char *orcpt; } rows[] = {
		{ "", 0, "" },
		{ " NOTIFY=NEVER", GA_NOTIFY_NEVER, "" },
		{ " NOTIFY=SUCCESS", GA_NOTIFY_SUCCESS, "" },
		{ " notify=delay,failure", GA_NOTIFY_DELAY | GA_NOTIFY_FAILURE, "" },
		{ " NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;c@example.com",
		    GA_NOTIFY_DELAY | GA_NOTIFY_FAILURE | GA_NOTIFY_SUCCESS, "rfc822;c@example.com" },
		{ " ORCPT=x-other;+22quoted+20one+22@example.com", 0, "x-other;\"quoted one\"@example.com" },
		{ " ORCPT=RFC822;a+2Bb+3Dc@example.com", 0, "RFC822;a+b=c@example.com" },
		{ " ORCPT=utf-8;b\\x{FC}cher@example.com", 0, "utf-8;b\\x{FC}cher@example.com" },
		{ " ORCPT=rfc822;" X100 X100 X100 X100 X10 X10 X10 X10 X10 X10 X10 X10 X10 "xxx", 0,
		    "rfc822;" X100 X100 X100 X100 X10 X10 X10 X10 X10 X10 X10 X10 X10 "xxx" },
	};
	struct world *w = greeted("");
	char in[1000];

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		snprintf(in, sizeof in, "MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>%s\r\n"
		    "RCPT TO:<c@example.net>\r\n", rows[i].params);
		expect(w, in, "250 2.1.0 Sender OK\r\n250 2.1.5 Recipient OK\r\n250 2.1.5");
		expect(w, CHUNK, "250 2.0.0 Queued");
		assert_int_equal(last_message(w)->first.notify, rows[i].notify);
		assert_str(last_message(w)->first.orcpt, rows[i].orcpt);
		assert_str(last_message(w)->rcpts, "b@example.net c@example.net");
	}
	world_free(w);
}

/* A line break or NUL in xtext would come out again in whatever prints it. */
static void
test_wrong_parameters_are_refused(void **state)
{
	static const char *const of_mail[] = {
		"RET", "RET=", "RET=ALL", "RET=FULL RET=FULL", "RET=FULL ret=HDRS", "RET=FULL,HDRS",
		"ENVID", "ENVID=", "ENVID=a=b", "ENVID=a+", "ENVID=a+4", "ENVID=a+4g", "ENVID=a+0D+0Ab",
		"ENVID=a+00b", "ENVID=a+7F", "ENVID=a+80", "ENVID=\xc3\xbc", "ENVID=" X100 "x", "ENVID=a ENVID=b",
	};
	static const char *const of_rcpt[] = {
		"NOTIFY", "NOTIFY=", "NOTIFY=ALWAYS", "NOTIFY=NEVER,SUCCESS", "NOTIFY=SUCCESS,NEVER",
		"NOTIFY=NEVER,NEVER", "NOTIFY=SUCCESS,SUCCESS", "NOTIFY=,SUCCESS", "NOTIFY=SUCCESS,",
		"NOTIFY=SUCCESS,,DELAY", "NOTIFY=SUCCESS;DELAY", "NOTIFY=SUCCESS NOTIFY=DELAY",
		"NOTIFY=SUCCESS, DELAY", "ORCPT", "ORCPT=", "ORCPT=a@example.com", "ORCPT=;a@example.com",
		"ORCPT=rfc822;", "ORCPT=rfc 822;a", "ORCPT=rfc_822;a", "ORCPT=+72fc822;a",
		"ORCPT=rfc822;a+0Ab", "ORCPT=rfc822;a+0D", "ORCPT=rfc822;a+00", "ORCPT=rfc822;a+",
		"ORCPT=rfc822;a=b", "ORCPT=rfc822;\xc3\xbc@example.com", "ORCPT=utf-8;\xc3\xbc@example.com",
		"ORCPT=rfc822;a ORCPT=rfc822;b",
		"ORCPT=rfc822;" X100 X100 X100 X100 X10 X10 X10 X10 X10 X10 X10 X10 X10 "xxxx",
	};
	struct world *w = greeted("max_errors 1000");
	char in[1000];

	for (size_t i = 0; i < sizeof of_mail / sizeof of_mail[0]; i++) {
		snprintf(in, sizeof in, "MAIL FROM:<a@example.org> %s\r\n", of_mail[i]);
		expect(w, in, "501 5.5.4");
		expect(w, "RCPT TO:<b@example.net>\r\n", "503");
	}
	expect(w, "MAIL FROM:<a@example.org>\r\n", "250");
	for (size_t i = 0; i < sizeof of_rcpt / sizeof of_rcpt[0]; i++) {
		snprintf(in, sizeof in, "RCPT TO:<b@example.net> %s\r\n", of_rcpt[i]);
		expect(w, in, "501 5.5.4");
	}
	expect(w, "DATA\r\n", "554 5.5.1 No valid recipients");
	world_free(w);
}

static void
test_parameters_are_of_the_command_that_has_them(void **state)
{
	struct world *w = greeted("");

	expect(w, "MAIL FROM:<a@example.org> NOTIFY=NEVER\r\n", "555 5.5.4");
	expect(w, "MAIL FROM:<a@example.org>\r\n", "250");
	expect(w, "RCPT TO:<b@example.net> RET=FULL\r\n", "555 5.5.4");
	expect(w, "RCPT TO:<b@example.net> SIZE=1\r\n", "555 5.5.4");
	world_free(w);
}

static void
test_dsn_is_no_part_of_helo(void **state)
{
	struct world *w = connected("");

	expect(w, "HELO c.example\r\n", "250");
	expect(w, "MAIL FROM:<a@example.org> RET=FULL\r\n", "555 5.5.4");
	expect(w, "MAIL FROM:<a@example.org>\r\n", "250");
	expect(w, "RCPT TO:<b@example.net> NOTIFY=NEVER\r\n", "555 5.5.4");
	expect(w, "RCPT TO:<b@example.net>\r\n", "250");
	world_free(w);
}

/* 500 octets longer than RFC 5321 has them, and no more. */
static void
test_lines_may_be_as_long_as_the_parameters_need(void **state)
{
	struct world *w = greeted("");
	char in[3000];
	size_t n = strlen("RCPT TO:<b@example.net>");

	expect(w, "MAIL FROM:<a@example.org>\r\n", "250");
	memset(in, ' ', sizeof in);
	memcpy(in, "RCPT TO:<b@example.net>", n);
	memcpy(in + 1010 - 12, "NOTIFY=NEVER\r\n", 15);
	expect(w, in, "250");
	memcpy(in + 1010 - 12, " NOTIFY=NEVER\r\n", 16);
	expect(w, in, "500 5.5.2 Line too long");
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ret_and_envid_are_kept),
		cmocka_unit_test(test_notify_and_orcpt_are_kept_for_each_recipient),
		cmocka_unit_test(test_wrong_parameters_are_refused),
		cmocka_unit_test(test_parameters_are_of_the_command_that_has_them),
		cmocka_unit_test(test_dsn_is_no_part_of_helo),
		cmocka_unit_test(test_lines_may_be_as_long_as_the_parameters_need),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
