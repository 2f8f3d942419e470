/*
 * test_attempts.c - how far an attempt had come when it ended, what modules learn of it,
 * and what becomes of it when a module amends its result.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "dialogue.h"

/* --- how far it had come --- */

static void
came_to(unsigned i, enum ga_attempt_stage stage)
{
	assert_true(i < fake.nresults);
	assert_int_equal(fake.results[i].stage, stage);
}

static void
test_connecting(void **state)
{
	open_to(1, 1);
	fake_refuse();
	came_to(0, GA_AT_CONNECT);
	open_to(0, 1);
	came_to(1, GA_AT_NOTHING);
}

static void
test_the_greeting_and_ehlo(void **state)
{
	static const char *const greetings[] = { "421 4.3.2 busy\r\n", "554 go away\r\n" };

	for (unsigned i = 0; i < 2; i++) {
		open_to(1, 1);
		fake_accept();
		fake_says(greetings[i]);
		came_to(i, GA_AT_GREETING);
	}
	open_to(1, 1);
	fake_accept();
	fake_eof();
	came_to(2, GA_AT_GREETING);
	open_to(1, 1);
	fake_accept();
	fake_advance(fake.settings.conf.smtp_greeting_timeout + 1);
	came_to(3, GA_AT_GREETING);
	open_to(1, 1);
	session("554 no\r\n");
	fake_says("554 no\r\n");		/* to HELO */
	came_to(4, GA_AT_GREETING);
}

static void
test_starttls(void **state)
{
	fake.settings.conf.starttls_require = true;
	open_to(1, 1);
	session(PIPES);
	came_to(0, GA_AT_TLS);			/* not offered */
	open_to(1, 1);
	session("250-mx0\r\n250 STARTTLS\r\n");
	fake_says("454 not now\r\n");
	came_to(1, GA_AT_TLS);
	open_to(1, 1);
	session("250-mx0\r\n250 STARTTLS\r\n");
	fake_says("220 go\r\n");
	fake_tls("handshake failed");
	came_to(2, GA_AT_TLS);
	open_to(1, 1);
	session("250-mx0\r\n250 STARTTLS\r\n");
	fake_says("220 go\r\n");
	fake_tls(NULL);
	fake_says("554 not you\r\n");		/* to EHLO over TLS, */
	fake_says("554 not you\r\n");		/* and to HELO */
	came_to(3, GA_AT_TLS);
}

static void
test_auth(void **state)
{
	fake.settings.conf.destination_username = GA_STR("u");
	fake.settings.conf.destination_auth_cleartext = true;
	open_to(1, 1);
	session("250-mx0\r\n250 AUTH PLAIN\r\n");
	fake_says("535 5.7.8 no\r\n");
	came_to(0, GA_AT_AUTH);
	open_to(1, 1);
	session(PIPES);
	came_to(1, GA_AT_AUTH);			/* not offered */
}

/* Without PIPELINING: replies so far, then the one that ends it or a lost connection. */
static void
ends_after(const char *const *replies, const char *last, enum ga_attempt_stage stage)
{
	unsigned before = fake.nresults;

	open_to(1, 1);
	session(PLAIN);
	for (; *replies != NULL; replies++)
		fake_says(*replies);
	if (last != NULL)
		fake_says(last);
	else
		fake_eof();
	assert_int_equal(fake.nresults, before + 1);
	came_to(before, stage);
	fake_says("221 bye\r\n");
}

static void
test_each_command_of_a_transaction(void **state)
{
	static const char *const ok[] = { "250 ok\r\n", "250 ok\r\n", "354 go\r\n", NULL };
	static const enum ga_attempt_stage stages[] = { GA_AT_MAIL, GA_AT_RCPT, GA_AT_DATA, GA_AT_MESSAGE };

	for (unsigned n = 0; n <= 3; n++) {
		const char *said[4] = { NULL };

		memcpy(said, ok, n * sizeof *said);
		ends_after(said, "550 5.0.0 no\r\n", stages[n]);
		ends_after(said, "451 4.0.0 later\r\n", stages[n]);
		ends_after(said, "421 4.3.2 closing\r\n", stages[n]);
		ends_after(said, NULL, stages[n]);
	}
	ends_after(ok, "250 taken\r\n", GA_AT_MESSAGE);
}

static void
test_pipelined_replies_count_for_the_command_they_answer(void **state)
{
	open_to(1, 3);
	session(PIPES);
	fake_says("250 ok\r\n550 no\r\n250 ok\r\n450 later\r\n354 go\r\n");
	fake_says("554 5.6.0 not that\r\n");
	assert_int_equal(fake.nresults, 3);
	for (unsigned i = 0; i < 3; i++)
		came_to(i, fake.results[i].envelope_id == 1 ? GA_AT_MESSAGE : GA_AT_RCPT);
	fake_says("221 bye\r\n");
	open_to(1, 1);
	session(PIPES);
	fake_says("550 no\r\n503 no\r\n503 no\r\n");
	came_to(3, GA_AT_MAIL);
	fake_says("221 bye\r\n");
	open_to(1, 2);
	session(PIPES);
	fake_says("250 ok\r\n550 no\r\n");
	fake_eof();				/* the other recipient was not answered */
	for (unsigned i = 4; i < 6; i++)
		came_to(i, GA_AT_RCPT);
	open_to(1, 1);
	session(PIPES);
	fake_says("250 ok\r\n250 ok\r\n554 no\r\n");
	came_to(6, GA_AT_DATA);
}

static void
test_bdat_is_the_message(void **state)
{
	fake.settings.conf.smtp_chunking = true;
	open_to(1, 1);
	session("250-mx0\r\n250-PIPELINING\r\n250 CHUNKING\r\n");
	fake_says("250 ok\r\n250 ok\r\n");
	fake_says("552 5.3.4 too big\r\n");
	came_to(0, GA_AT_MESSAGE);
}

static void
test_what_is_not_asked_for_the_host_came_to_mail(void **state)
{
	open_to(1, 1);
	session("250-mx0\r\n250 SIZE 5\r\n");
	result_is(0, GA_RESULT_FAILURE, 0, "5.3.4");
	came_to(0, GA_AT_MAIL);
	fake_says("221 bye\r\n");
	fake_hook(GA_REJECT, NULL);
	open_to(1, 1);
	came_to(1, GA_AT_NOTHING);
	fake_accept();
	fake_says("220 mx0\r\n");
	fake_says(PLAIN);
	fake_says("221 bye\r\n");
}

/* --- what modules learn --- */

static void
test_a_reply_is_told_as_it_came_and_in_one_line(void **state)
{
	fake_result_hook();
	open_to(1, 1);
	session(PLAIN);
	fake_says("550-5.7.1 The sender is\r\n550-5.7.1 blocked; see\r\n550 https://x.example/\r\n");
	assert_string_equal(fake.reply, "550-5.7.1 The sender is\n550-5.7.1 blocked; see\n550 https://x.example/");
	assert_string_equal(fake.line, "550 5.7.1 The sender is blocked; see https://x.example/");
	fake_says("221 bye\r\n");
	open_to(1, 1);
	fake_refuse();
	assert_string_equal(fake.reply, "");
	assert_non_null(strstr(fake.line, "connect: Connection refused"));
}

static void
test_the_time_of_each_phase_is_told(void **state)
{
	struct ga_route *r;

	fake_result_hook();
	fake.settings.conf.reuse_connections = true;
	open_to(2, 1);
	fake_advance(1);
	fake_refuse();				/* mx0: adds up with mx1 */
	fake_advance(2);
	fake_accept();
	fake_advance(4);
	fake_says("220 mx1 ESMTP\r\n");
	fake_advance(8);
	fake_says("250-mx1\r\n250-SIZE\r\n250 8BITMIME\r\n");
	fake_advance(16);
	fake_says("250 ok\r\n");
	fake_advance(32);
	fake_says("250 ok\r\n");
	fake_advance(64);
	fake_says("354 go\r\n");
	fake_advance(128);
	fake_says("250 2.0.0 taken\r\n");
	assert_int_equal(fake.phase_ms[GA_PHASE_CONNECT], 3);
	assert_int_equal(fake.phase_ms[GA_PHASE_GREETING], 4);
	assert_int_equal(fake.phase_ms[GA_PHASE_EHLO], 8);
	assert_int_equal(fake.phase_ms[GA_PHASE_TLS], GA_NO_TIME);
	assert_int_equal(fake.phase_ms[GA_PHASE_AUTH], GA_NO_TIME);
	assert_int_equal(fake.phase_ms[GA_PHASE_MAIL], 16);
	assert_int_equal(fake.phase_ms[GA_PHASE_RCPT], 32);
	assert_int_equal(fake.phase_ms[GA_PHASE_DATA], 64);
	assert_int_equal(fake.phase_ms[GA_PHASE_MESSAGE], 0);
	assert_int_equal(fake.phase_ms[GA_PHASE_DOT], 128);
	assert_string_equal(fake.extensions, "8BITMIME,SIZE");
	assert_string_equal(fake.hostname, "mail.example");
	fake_durable();
	fake_advance(1000);
	r = fake_route("y.example", 2);
	assert_true(fake_offer(fake_batch(r, BODY, 1, true)));	/* what the connection cost is not counted again */
	ga_route_unref(r);
	fake_advance(5);
	fake_says("550 5.1.0 no\r\n");
	assert_int_equal(fake.phase_ms[GA_PHASE_CONNECT], GA_NO_TIME);
	assert_int_equal(fake.phase_ms[GA_PHASE_DOT], GA_NO_TIME);
	assert_int_equal(fake.phase_ms[GA_PHASE_MAIL], 5);
}

static void
test_the_last_deferral_is_too_long_when_no_module_makes_something_else_of_it(void **state)
{
	static const struct { enum ga_verdict verdict; enum ga_attempt_status status; enum ga_outcome outcome; } t[] = {
		{ GA_PASS, GA_STATUS_FAILURE_TOOLONG, GA_FAILED }, { GA_ACCEPT, GA_STATUS_SUCCESS, GA_DELIVERED } };

	fake_result_hook();
	for (unsigned i = 0; i < 2; i++) {
		struct ga_route *r = fake_route("y.example", 1);
		struct ga_batch b = fake_batch(r, BODY, 1, true);

		b.first->flags = GA_TICKET_LAST_CHANCE;
		b.first->attempts = 7;
		ga_route_unref(r);
		fake.amend[0] = t[i].verdict;
		fake_open(b);
		session(PLAIN);
		fake_says("451 4.2.1 later\r\n");
		assert_int_equal(fake.asked_status, GA_STATUS_DEFERRAL);
		assert_int_equal(fake.status, t[i].status);
		assert_int_equal(fake.outcome, t[i].outcome);
		assert_int_equal(fake.queue, GA_QUEUE_DISK);
		fake_says("221 bye\r\n");
	}
}

/* --- results that are amended --- */

static void
test_each_verdict_and_no_verdict(void **state)
{
	static const struct { enum ga_verdict verdict; enum ga_result result; } t[] = {
		{ GA_PASS, GA_RESULT_FAILURE }, { GA_ACCEPT, GA_RESULT_SUCCESS },
		{ GA_TEMPFAIL, GA_RESULT_DEFERRAL }, { GA_REJECT, GA_RESULT_FAILURE } };

	fake_result_hook();
	for (unsigned i = 0; i < 4; i++) {
		memset(fake.ended_as, 0, sizeof fake.ended_as);
		fake.amend[0] = t[i].verdict;
		open_to(1, 1);
		session(PLAIN);
		fake_says("550 5.1.1 no such user\r\n");
		result_is(i, t[i].result, 550, "5.1.1");
		assert_string_equal(fake.results[i].text, "550 5.1.1 no such user");
		assert_int_equal(fake.ended_as[t[i].result], 1);
		assert_string_equal(fake.results[i].mx, t[i].result == GA_RESULT_SUCCESS ? "" : "mx0");
		fake_says("221 bye\r\n");
	}
	/* a success that was not sent is on record as one */
	assert_int_equal(fake.dones, 1);
	assert_true(fake.results[1].recorded);
	assert_int_equal(atomic_load(&smtpc.successes), 1);
	assert_int_equal(atomic_load(&smtpc.failures), 2);
	assert_int_equal(atomic_load(&smtpc.deferrals), 1);
	assert_int_equal(fake.amends, 4);
	assert_int_equal(fake.told, 4);
}

static void
test_a_success_becomes_a_failure_and_is_not_recorded(void **state)
{
	fake_result_hook();
	fake.amend[0] = GA_REJECT;
	open_to(1, 1);
	session(PIPES);
	fake_says(TO_DATA);
	fake_says("250 2.0.0 taken\r\n");
	result_is(0, GA_RESULT_FAILURE, 250, "2.0.0");
	assert_int_equal(fake.outcome, GA_FAILED);
	assert_int_equal(fake.dones, 0);
}

static void
test_words_of_a_module_take_the_place_of_the_reply(void **state)
{
	fake_result_hook();
	fake.amend[0] = GA_TEMPFAIL;
	fake.amended = (struct ga_reply){ 450, "4.7.0", "we wait for better days" };
	open_to(1, 1);
	session(PLAIN);
	fake_says("550 5.1.1 no such user\r\n");
	result_is(0, GA_RESULT_DEFERRAL, 450, "4.7.0");
	assert_string_equal(fake.results[0].text, "we wait for better days");
	assert_string_equal(fake.results[0].mx, "");
	assert_string_equal(fake.line, "we wait for better days");
	assert_string_equal(fake.reply, "550 5.1.1 no such user");
}

static void
test_recipients_of_one_message_are_amended_one_by_one(void **state)
{
	static const enum ga_result results[] = { GA_RESULT_SUCCESS, GA_RESULT_DEFERRAL, GA_RESULT_SUCCESS };

	fake_result_hook();
	fake.amend[1] = GA_TEMPFAIL;
	fake.amend[2] = GA_ACCEPT;
	open_to(1, 3);
	session(PIPES);
	fake_says("250 ok\r\n250 ok\r\n250 ok\r\n550 no\r\n354 go\r\n");
	fake_says("250 taken\r\n");
	assert_int_equal(fake.nresults, 3);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(fake.results[i].result, results[fake.results[i].envelope_id]);
	assert_int_equal(fake.dones, 2);
}

static void
test_a_success_that_the_host_cannot_report_is_reported_by_us(void **state)
{
	struct ga_route *r = fake_route("y.example", 1);
	struct ga_batch b = fake_batch(r, BODY, 1, true);

	b.first->flags = GA_TICKET_REPORT;
	ga_route_unref(r);
	fake_result_hook();
	fake.amend[0] = GA_ACCEPT;
	fake_open(b);
	session("250-mx0\r\n250 DSN\r\n");
	fake_says("250 ok\r\n");
	fake_says("550 5.1.1 no\r\n");
	result_is(0, GA_RESULT_SUCCESS, 550, "5.1.1");
	assert_true(fake.results[0].relayed);
	assert_string_equal(fake.results[0].mx, "mx0");
	assert_int_equal(fake.updates, 1);
	assert_int_equal(fake.dones, 0);
}

static void
test_a_recalled_ticket_is_no_result(void **state)
{
	fake_result_hook();
	fake.amend[0] = GA_ACCEPT;
	open_to(1, 1);
	fake_drain();
	assert_int_equal(fake.results[0].result, GA_RESULT_RECALLED);
	assert_int_equal(fake.amends, 0);
}

/* The queue would take it for one that limits kept from starting. */
static void
test_what_a_connection_gives_back_has_waited_no_time(void **state)
{
	struct ga_route *r = fake_route("x.example", 1);
	struct ga_batch b = fake_batch(r, "a\r\n", 2, true);

	ga_route_unref(r);
	b.first->since_ms = b.first->next->since_ms = 1;
	fake_open(b);
	session("250-mx0\r\n250 LIMITS RCPTMAX=1 MAILMAX=1\r\n");
	fake_says("250 ok\r\n");
	fake_says("250 ok\r\n");
	fake_says("354 go\r\n");
	fake_says("250 ok\r\n");
	for (unsigned i = 0; i < 2; i++)
		if (fake.results[i].result == GA_RESULT_RECALLED)
			assert_true(fake.results[i].since_ms > 1);
	assert_int_equal(fake.nresults, 2);
	assert_true((fake.results[0].result == GA_RESULT_RECALLED) != (fake.results[1].result == GA_RESULT_RECALLED));
}

static void
test_the_hook_waits_for_the_message_that_it_is_about(void **state)
{
	struct ga_route *r = fake_route("y.example", 0);

	fake_result_hook();
	fake.amend[0] = GA_REJECT;
	fake_open(fake_batch(r, BODY, 1, false));
	ga_route_unref(r);
	assert_int_equal(fake.reads, 1);
	result_is(0, GA_RESULT_FAILURE, 0, "4.4.4");
	assert_int_equal(fake.amends, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_connecting),
		TEST(test_the_greeting_and_ehlo),
		TEST(test_starttls),
		TEST(test_auth),
		TEST(test_each_command_of_a_transaction),
		TEST(test_pipelined_replies_count_for_the_command_they_answer),
		TEST(test_bdat_is_the_message),
		TEST(test_what_is_not_asked_for_the_host_came_to_mail),
		TEST(test_a_reply_is_told_as_it_came_and_in_one_line),
		TEST(test_the_time_of_each_phase_is_told),
		TEST(test_the_last_deferral_is_too_long_when_no_module_makes_something_else_of_it),
		TEST(test_each_verdict_and_no_verdict),
		TEST(test_a_success_becomes_a_failure_and_is_not_recorded),
		TEST(test_words_of_a_module_take_the_place_of_the_reply),
		TEST(test_recipients_of_one_message_are_amended_one_by_one),
		TEST(test_a_success_that_the_host_cannot_report_is_reported_by_us),
		TEST(test_a_recalled_ticket_is_no_result),
		TEST(test_what_a_connection_gives_back_has_waited_no_time),
		TEST(test_the_hook_waits_for_the_message_that_it_is_about),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
