/*
 * test_wire.c - offers are read, replies judged and commands written as RFC 5321
 * and its extensions say.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../wire.h"

static void
parse(struct ga_reply_parser *r, const char *text)
{
	int state;

	ga_reply_reset(r);
	assert_int_equal(ga_reply_feed(r, text, strlen(text), &state), strlen(text));
	assert_int_equal(state, 1);
}

static struct smtpc_offer
offer(const char *text)
{
	static struct ga_reply_parser r;
	struct smtpc_offer o;

	parse(&r, text);
	smtpc_offer_parse(&o, &r);
	return o;
}

static void
test_keywords_are_read_in_any_case(void **state)
{
	struct smtpc_offer o = offer("250-mx.example\r\n250-pipelining\r\n250-8BitMime\r\n"
	    "250-SIZE 1000\r\n250-STARTTLS\r\n250 SMTPUTF8\r\n");

	assert_int_equal(o.ext, SMTPC_PIPELINING | SMTPC_8BITMIME | SMTPC_SIZE | SMTPC_STARTTLS |
	    SMTPC_SMTPUTF8);
	assert_int_equal(o.size_limit, 1000);
}

static void
test_the_greeting_line_offers_nothing(void **state)
{
	assert_int_equal(offer("250 PIPELINING\r\n").ext, 0);
	assert_int_equal(offer("250-STARTTLS\r\n250 HELP\r\n").ext, 0);
}

static void
test_unknown_and_longer_words_are_not_ours(void **state)
{
	assert_int_equal(offer("250-x\r\n250-PIPELININGX\r\n250-XSTARTTLS\r\n250 AUTH SIZE\r\n").ext, 0);
}

static void
test_mechanisms_and_limits(void **state)
{
	struct smtpc_offer o;

	assert_int_equal(offer("250-x\r\n250 AUTH CRAM-MD5 Plain\tLOGIN\r\n").ext, SMTPC_AUTH_PLAIN | SMTPC_AUTH_LOGIN);
	assert_int_equal(offer("250-x\r\n250 AUTH=LOGIN\r\n").ext, SMTPC_AUTH_LOGIN);
	assert_int_equal(offer("250-x\r\n250-AUTH\r\n250 AUTH XPLAIN PLAINX\r\n").ext, 0);
	o = offer("250-x\r\n250 LIMITS MAILMAX=50 rcptmax=7 OTHER=x\r\n");
	assert_int_equal(o.rcpt_max, 7);
	assert_int_equal(o.mail_max, 50);
	o = offer("250-x\r\n250 LIMITS RCPTMAX=many MAILMAX=1234567 RCPTMAX\r\n");
	assert_int_equal(o.rcpt_max, 0);
	assert_int_equal(o.mail_max, 0);
}

static void
test_size_without_a_usable_number_sets_no_limit(void **state)
{
	assert_int_equal(offer("250-x\r\n250 SIZE\r\n").size_limit, 0);
	assert_int_equal(offer("250-x\r\n250 SIZE\r\n").ext, SMTPC_SIZE);
	assert_int_equal(offer("250-x\r\n250 SIZE 0\r\n").size_limit, 0);
	assert_int_equal(offer("250-x\r\n250 SIZE -1\r\n").size_limit, 0);
	assert_int_equal(offer("250-x\r\n250 SIZE 99999999999999999999999\r\n").size_limit, UINT64_MAX);
}

static void
test_the_first_digit_judges(void **state)
{
	assert_int_equal(smtpc_kind(250), SMTPC_OK);
	assert_int_equal(smtpc_kind(299), SMTPC_OK);
	assert_int_equal(smtpc_kind(354), SMTPC_GO_ON);
	assert_int_equal(smtpc_kind(450), SMTPC_TEMPORARY);
	assert_int_equal(smtpc_kind(421), SMTPC_CLOSING);
	assert_int_equal(smtpc_kind(599), SMTPC_PERMANENT);
	assert_int_equal(smtpc_kind(150), SMTPC_ODD);
	assert_int_equal(smtpc_kind(0), SMTPC_ODD);
}

static void
test_too_many_recipients_is_told_from_no_room(void **state)
{
	assert_true(smtpc_too_many(452, GA_STR("4.5.3")));
	assert_true(smtpc_too_many(452, GA_STR("")));
	assert_false(smtpc_too_many(452, GA_STR("4.3.1")));
	assert_false(smtpc_too_many(452, GA_STR("4.2.2")));
	assert_true(smtpc_too_many(552, GA_STR("5.5.3")));
	assert_false(smtpc_too_many(552, GA_STR("5.2.2")));
	assert_false(smtpc_too_many(550, GA_STR("5.5.3")));
}

static void
test_only_a_permanent_refusal_of_ehlo_leads_to_helo(void **state)
{
	assert_true(smtpc_wants_helo(500));
	assert_true(smtpc_wants_helo(502));
	assert_true(smtpc_wants_helo(554));
	assert_false(smtpc_wants_helo(450));
	assert_false(smtpc_wants_helo(421));
	assert_false(smtpc_wants_helo(250));
}

static void
assert_out(struct smtpc_out *o, const char *want)
{
	assert_int_equal(o->n, strlen(want));
	assert_memory_equal(o->p, want, o->n);
	smtpc_out_reset(o);
}

static void
test_commands_are_written_as_one_group(void **state)
{
	struct smtpc_out o = { 0 };
	struct smtpc_mail m = { .sender = GA_STR("a@x.example"), .size = 4096, .body_8bit = true };

	smtpc_out_mail(&o, &m);
	smtpc_out_rcpt(&o, &(struct smtpc_rcpt){ .recipient = GA_STR("b@y.example") });
	smtpc_out_rcpt(&o, &(struct smtpc_rcpt){ .recipient = GA_STR("\"c d\"@y.example") });
	smtpc_out_command(&o, "DATA", GA_STR(""));
	assert_out(&o, "MAIL FROM:<a@x.example> SIZE=4096 BODY=8BITMIME\r\n"
	    "RCPT TO:<b@y.example>\r\nRCPT TO:<\"c d\"@y.example>\r\nDATA\r\n");
	m = (struct smtpc_mail){ .sender = GA_STR("") };
	smtpc_out_mail(&o, &m);
	assert_out(&o, "MAIL FROM:<>\r\n");
	smtpc_out_command(&o, "EHLO", GA_STR("mail1.example.com"));
	assert_out(&o, "EHLO mail1.example.com\r\n");
	smtpc_out_free(&o);
}

static void
test_a_big_group_is_not_kept_by_an_idle_connection(void **state)
{
	struct smtpc_out o = { 0 };

	for (int i = 0; i < 1000; i++)
		smtpc_out_rcpt(&o, &(struct smtpc_rcpt){ .recipient = GA_STR("somebody.with.a.long.name@domain.example") });
	assert_true(o.n > 40000);
	smtpc_out_reset(&o);
	assert_int_equal(o.room, 0);
	smtpc_out_rcpt(&o, &(struct smtpc_rcpt){ .recipient = GA_STR("a@b") });
	assert_out(&o, "RCPT TO:<a@b>\r\n");
	assert_true(o.room > 0);
	smtpc_out_free(&o);
}

static void
test_addresses_that_could_end_a_command_are_refused(void **state)
{
	static const char *const bad[] = { "a@b\r\nRCPT TO:<c@d", "a\nb@c", "a b@c", "a>b@c", "<a@c",
		"\"a@c", "\"a\\", "a\x7f@c", "\"a\\\r\"@c" };
	static const char *const good[] = { "", "a@b", "\"a b\"@c", "\"a>b\"@c", "\"a\\\"b\"@c",
		"a@[127.0.0.1]", "o'brien+x@c" };
	bool utf8 = false;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_false(smtpc_address_clean(ga_str_c(bad[i]), &utf8));
	assert_false(smtpc_address_clean((struct ga_str){ "a\0b", 3 }, &utf8));
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		assert_true(smtpc_address_clean(ga_str_c(good[i]), &utf8));
	assert_false(utf8);
	assert_true(smtpc_address_clean(GA_STR("j\xc3\xbcrgen@x"), &utf8));
	assert_true(utf8);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keywords_are_read_in_any_case),
		cmocka_unit_test(test_the_greeting_line_offers_nothing),
		cmocka_unit_test(test_unknown_and_longer_words_are_not_ours),
		cmocka_unit_test(test_mechanisms_and_limits),
		cmocka_unit_test(test_size_without_a_usable_number_sets_no_limit),
		cmocka_unit_test(test_the_first_digit_judges),
		cmocka_unit_test(test_too_many_recipients_is_told_from_no_room),
		cmocka_unit_test(test_only_a_permanent_refusal_of_ehlo_leads_to_helo),
		cmocka_unit_test(test_commands_are_written_as_one_group),
		cmocka_unit_test(test_a_big_group_is_not_kept_by_an_idle_connection),
		cmocka_unit_test(test_addresses_that_could_end_a_command_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
