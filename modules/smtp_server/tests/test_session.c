/*
 * test_session.c - dialogues with the real session, see world.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dialogue.h"

/* --- the way of a message --- */

static const char whole[] = HELLO "MAIL FROM:<a@example.org> SIZE=20 BODY=8BITMIME\r\n"
    "RCPT TO:<b@example.net>\r\nRCPT TO:<c@example.net>\r\nDATA\r\n"
    "Subject: hi\r\n\r\n..dot\r\n.\r\n" BEGIN TEXT ".\r\nQUIT\r\n";

static void
test_messages_arrive_however_the_octets_are_cut(void **state)
{
	for (size_t piece = 1; piece < sizeof whole; piece++) {
		struct world *w = connected("");

		w->piece = piece;
		world_say(w, whole);
		assert_string_equal(world_heard(w),
		    "250-test\r\n250 SIZE\r\n250 2.1.0 Sender OK\r\n250 2.1.5 Recipient OK\r\n"
		    "250 2.1.5 Recipient OK\r\n354 End data with <CR><LF>.<CR><LF>\r\n"
		    "250 2.0.0 Queued as 00000001\r\n"
		    "250 2.1.0 Sender OK\r\n250 2.1.5 Recipient OK\r\n"
		    "354 End data with <CR><LF>.<CR><LF>\r\n"
		    "250 2.0.0 Queued as 00000002\r\n221 2.0.0 Bye\r\n");
		assert_false(w->connected);
		assert_int_equal(w->nmessages, 2);
		assert_text(&w->messages[0], "Subject: hi\r\n\r\n.dot\r\n", 21);
		assert_text(&w->messages[1], TEXT, strlen(TEXT));
		assert_true(ga_str_eq(w->messages[0].rcpts, GA_STR("b@example.net c@example.net")));
		assert_true(ga_str_eq(w->messages[0].sender, GA_STR("a@example.org")));
		assert_int_equal(w->messages[0].flags, GA_MSG_BODY_8BITMIME);
		assert_int_equal(w->messages[1].header_size, w->messages[1].text.n - 6);
		world_free(w);
	}
}

static void
test_250_only_after_the_answer_of_intake(void **state)
{
	struct world *w = greeted("");

	w->answers_late = true;
	expect(w, BEGIN, "250 2.1.0");
	expect(w, TEXT ".\r\nNOOP\r\n", "");
	assert_string_equal(world_heard(w), "");
	world_answer(w);
	assert_string_equal(world_heard(w), "250 2.0.0 Queued as 00000001\r\n250 2.0.0 OK\r\n");
	world_free(w);
}

static void
test_what_intake_refuses_is_said(void **state)
{
	struct world *w = greeted("");

	w->verdict = GA_TEMPFAIL;
	expect(w, BEGIN, "250");
	expect(w, TEXT ".\r\n", "451 4.3.0 ");
	w->reply = (struct ga_reply){ 452, "4.3.1", "Disk full" };
	expect(w, BEGIN, "250");
	expect(w, TEXT ".\r\n", "452 4.3.1 Disk full\r\n");
	w->verdict = GA_REJECT;
	w->reply = (struct ga_reply){ 250, "2.0.0", "OK" };	/* contradicts the verdict */
	expect(w, BEGIN, "250");
	expect(w, TEXT ".\r\n", "550 5.7.1 ");
	assert_int_equal(w->nmessages, 0);
	expect(w, "DATA\r\n", "503 ");
	world_free(w);
}

static void
test_a_client_that_goes_while_its_message_is_stored(void **state)
{
	struct world *w = greeted("");

	w->answers_late = true;
	expect(w, BEGIN, "250");
	expect(w, TEXT ".\r\n", "");
	world_disconnect(w);
	world_answer(w);
	assert_int_equal(w->nmessages, 1);
	world_free(w);
}

static void
test_a_client_that_goes_in_the_middle_leaves_nothing(void **state)
{
	struct world *w = greeted("");

	expect(w, BEGIN, "250");
	expect(w, "Subject: half", "");
	world_disconnect(w);
	assert_false(w->connected);
	assert_int_equal(w->nmessages, 0);
	world_free(w);
}

static void
test_a_half_closed_client_gets_its_replies(void **state)
{
	struct world *w = connected("");

	w->closes = true;
	world_say(w, whole);
	w->closes = false;
	assert_non_null(strstr(world_heard(w), "221 2.0.0 Bye"));
	assert_int_equal(w->nmessages, 2);
	world_free(w);
}

/* --- order and syntax --- */

static void
test_commands_out_of_order(void **state)
{
	struct world *w = connected("");

	expect(w, "MAIL FROM:<a@example.org>\r\n", "503 5.5.1");
	expect(w, "RCPT TO:<a@example.org>\r\n", "503 5.5.1");
	expect(w, "DATA\r\n", "503 5.5.1");
	expect(w, HELLO, "250");
	expect(w, "DATA\r\n", "503 5.5.1");
	expect(w, "MAIL FROM:<>\r\n", "250 2.1.0");
	expect(w, "MAIL FROM:<>\r\n", "503 5.5.1");
	expect(w, "DATA\r\n", "503 5.5.1");
	expect(w, "RCPT TO:<nowhere>\r\n", "501 5.1.3");
	expect(w, "DATA\r\n", "554 5.5.1");
	expect(w, HELLO, "250");
	expect(w, "RCPT TO:<a@example.org>\r\n", "503 5.5.1");
	world_free(w);
}

static void
test_syntax_of_commands(void **state)
{
	static const struct { const char *send, *reply; } rows[] = {
		{ "\r\n", "500 5.5.2" }, { "FOO\r\n", "500 5.5.2" },
		{ "EHLO\r\n", "501 5.5.4" }, { "EHLO a b!c\r\n", "501 5.5.4" },
		{ "EHLO [192.0.2.1]\r\n", "250" }, { "EHLO [IPv6:2001:db8::1]\r\n", "250" },
		{ "ehlo Client.Example\r\n", "250" },
		{ "RSET x\r\n", "501 5.5.4" }, { "NOOP x\r\n", "250 2.0.0" },
		{ "VRFY\r\n", "501 5.5.4" }, { "VRFY root\r\n", "252 2.5.0" },
		{ "HELP\r\n", "214 2.0.0" }, { "EXPN x\r\n", "502 5.5.1" },
		{ "STARTTLS\r\n", "454 4.7.0" }, { "STARTTLS x\r\n", "501 5.5.4" },
		{ "DATA x\r\n", "501 5.5.4" }, { "QUIT x\r\n", "501 5.5.4" },
		{ "MAIL\r\n", "501 5.5.4" }, { "MAIL FROM:a@example.org\r\n", "501 5.1.7" },
		{ "MAIL FROM:<a>\r\n", "501 5.1.7" }, { "MAIL FROM:<a..b@example.org>\r\n", "501 5.1.7" },
		{ "MAIL FROM:<a@example.org> FOO\r\n", "555 5.5.4" },
		{ "MAIL FROM:<a@example.org> SIZE=abc\r\n", "501 5.5.4" },
		{ "MAIL FROM:<a@example.org> SIZE=1 SIZE=1\r\n", "501 5.5.4" },
		{ "MAIL FROM:<a@example.org> BODY=9BIT\r\n", "501 5.5.4" },
		{ "MAIL FROM:<a@example.org> SIZE=99999999999999999999\r\n", "552 5.3.4" },
		{ "MAIL FROM:<a@example.org> SIZE=999999999999999999999\r\n", "501 5.5.4" },
		{ "MAIL FROM:<gr\xc3\xbc\xc3\x9f@example.org>\r\n", "550 5.6.7" },
		{ "MAIL FROM:<a\tb@example.org>\r\n", "501 5.5.2" },
		{ "mail from: <a@example.org> size=0 body=7bit\r\n", "250 2.1.0" },
		{ "RCPT TO:<>\r\n", "501 5.1.3" }, { "RCPT TO:<a@example.org> X=1\r\n", "555 5.5.4" },
		{ "RCPT TO:<@a.example,@b.example:c@example.org>\r\n", "250 2.1.5" },
		{ "RCPT TO:<\"a b\"@example.org>\r\n", "250 2.1.5" },
		{ "RCPT TO:<PostMaster>\r\n", "250 2.1.5" },
		{ "RCPT TO:<c@[192.0.2.9]>\r\n", "250 2.1.5" },
		{ "RSET\r\n", "250 2.0.0" }, { "HELO client.example\r\n", "250 test" },
		{ "MAIL FROM:<a@example.org> SIZE=1\r\n", "555 5.5.4" },
	};
	struct world *w = connected("max_errors 1000000");

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		expect(w, rows[i].send, rows[i].reply);
	world_free(w);
}

static void
test_a_web_browser_is_not_answered(void **state)
{
	struct world *w = connected("");

	expect(w, "POST / HTTP/1.1\r\nHost: x\r\n\r\n" HELLO, "");
	assert_string_equal(world_heard(w), "");
	assert_false(w->connected);
	world_free(w);
}

/* --- lines --- */

static void
test_long_lines_are_refused_and_dropped_whole(void **state)
{
	struct world *w = greeted("");
	char line[4096];

	memset(line, 'x', sizeof line);
	memcpy(line, "NOOP ", 5);
	memcpy(line + 510, "\r\n", 2);
	expect_n(w, line, 512, "250 2.0.0");
	memcpy(line + 510, "xx\r\n", 4);
	expect_n(w, line, 514, "500 5.5.2 Line too long\r\n");
	memset(line + 510, 'x', 100);
	memcpy(line + 4094 - 13, "\r\nMAIL\r\nNOOP\r\n", 14);
	expect_n(w, line, 4095, "500 5.5.2 Line too long\r\n501 5.5.4 Syntax: MAIL FROM:<address>\r\n"
	    "250 2.0.0 OK\r\n");
	world_free(w);
}

static void
test_a_line_without_end_ends_the_session(void **state)
{
	struct world *w = greeted("");
	char *line = malloc(100000);

	memset(line, 'x', 100000);
	w->piece = 1000;
	world_send(w, line, 100000);
	assert_non_null(strstr(world_heard(w), "421 4.7.0 "));
	world_free(w);
	free(line);
}

static void
test_bare_newlines_never_end_a_command(void **state)
{
	struct world *w = greeted("");

	expect(w, "NOOP\nRSET\r\nNOOP\r\n", "500 5.5.2 Bare <LF>: lines end with <CR><LF>\r\n250 2.0.0 OK\r\n");
	expect(w, "NOOP\rRSET\r\nNOOP\r\n", "500 5.5.2 Bare <CR> in command\r\n250 2.0.0 OK\r\n");
	world_free(w);
	w = greeted("bare_newlines normalize");
	expect(w, "NOOP\nRSET\r\n", "250 2.0.0 OK\r\n250 2.0.0 OK\r\n");
	world_free(w);
}

/* --- the end of data --- */

static void
test_a_smuggled_transaction_stays_text(void **state)
{
	static const char *const tricks[] = { "\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r\r\n" };
	char in[512];

	for (size_t i = 0; i < sizeof tricks / sizeof tricks[0]; i++) {
		struct world *w = greeted("");

		snprintf(in, sizeof in, "Subject: x\r\n\r\na%sMAIL FROM:<evil@example.org>\r\n"
		    "RCPT TO:<you@example.net>\r\nDATA\r\nfake\r\n.\r\n", tricks[i]);
		expect(w, BEGIN, "250");
		expect(w, in, "550 5.6.0");
		assert_int_equal(w->nmessages, 0);
		expect(w, "NOOP\r\n", "250 2.0.0 OK\r\n");
		world_free(w);

		w = greeted("bare_newlines normalize");
		expect(w, BEGIN, "250");
		expect(w, in, "250 2.0.0 Queued as 00000001\r\n");
		assert_int_equal(w->nmessages, 1);
		world_free(w);
	}
}

static void
test_bad_messages_are_refused_after_their_end(void **state)
{
	struct world *w = greeted("max_message_size 2000\nmax_header_size 1024\nreceived_max 3");
	char big[4000];

	expect(w, BEGIN, "250");
	expect_n(w, "a\0b\r\n.\r\n", 8, "554 5.6.0");
	expect(w, BEGIN, "250");
	expect(w, "Received: 1\r\nReceived: 2\r\nReceived: 3\r\n\r\n.\r\n", "250");
	expect(w, BEGIN, "250");
	expect(w, "Received: 1\r\nReceived: 2\r\nReceived: 3\r\nreceived: 4\r\n\r\n.\r\n", "554 5.4.6");
	memset(big, 'x', sizeof big);
	memcpy(big, "a: b\r\n\r\n", 8);
	memcpy(big + 1998, "\r\n.\r\n", 5);
	expect(w, BEGIN, "250");
	expect_n(w, big, 2003, "250 2.0.0");
	memcpy(big + 1998, "x\r\n.\r\n", 6);
	expect(w, BEGIN, "250");
	expect_n(w, big, 2004, "552 5.3.4");
	memset(big, 'x', 8);
	memcpy(big + 1998, "\r\n.\r\n", 6);
	expect(w, BEGIN, "250");
	expect_n(w, big, 2003, "552 5.3.4 Message header");
	expect(w, "DATA\r\n", "503 ");
	world_free(w);
}

static void
test_a_refused_message_without_end_ends_the_session(void **state)
{
	struct world *w = greeted("max_message_size 2000");
	char *text = calloc(1, 4000000);

	expect(w, BEGIN, "250");
	world_send(w, text, 4000000);
	assert_non_null(strstr(world_heard(w), "421 4.7.0 "));
	world_free(w);
	free(text);
}

static void
test_text_behind_a_refused_data_is_not_run(void **state)
{
	struct world *w = greeted("");

	expect(w, "MAIL FROM:<a@example.org>\r\nRCPT TO:<bad>\r\nDATA\r\nRSET\r\nNOOP\r\n",
	    "250 2.1.0 Sender OK\r\n501 5.1.3 Recipient address is not valid\r\n"
	    "554 5.5.1 No valid recipients\r\n421 4.5.0 ");
	world_free(w);
}

/* --- limits --- */

static void
test_only_clients_that_may_relay_can_send_to_anyone(void **state)
{
	struct world *w = world_new("");

	w->relays = false;
	world_connect(w);
	expect(w, HELLO, "220 test\r\n250-");
	expect(w, "MAIL FROM:<a@example.org>\r\n", "250");
	expect(w, "RCPT TO:<b@example.net>\r\n", "550 5.7.1");
	expect(w, "RCPT TO:<b%example.net@example.org>\r\n", "550 5.7.1");
	expect(w, "RCPT TO:<@example.org:b@example.net>\r\n", "550 5.7.1");
	expect(w, "DATA\r\n", "554 5.5.1");
	expect(w, "RCPT TO:<postmaster>\r\n", "250 2.1.5");
	expect(w, "DATA\r\n", "354");
	expect(w, TEXT ".\r\n", "250");
	world_free(w);
}

static void
test_a_stranger_that_speaks_first_is_refused(void **state)
{
	struct world *w = world_new("");

	w->relays = false;
	w->send = HELLO;
	w->nsend = strlen(HELLO);
	world_connect(w);
	world_send(w, w->send, w->nsend);
	assert_true(strncmp(world_heard(w), "554 5.5.0", 9) == 0);
	world_free(w);
}

static void
test_too_many_recipients(void **state)
{
	struct world *w = greeted("max_recipients 2");

	expect(w, "MAIL FROM:<a@example.org>\r\n", "250");
	expect(w, "RCPT TO:<b@example.net>\r\n", "250");
	expect(w, "RCPT TO:<c@example.net>\r\n", "250");
	expect(w, "RCPT TO:<d@example.net>\r\n", "452 4.5.3");
	expect(w, "DATA\r\n", "354");
	expect(w, TEXT ".\r\n", "250");
	assert_int_equal(w->messages[0].nrcpts, 2);
	world_free(w);
}

static void
test_too_many_errors_end_the_session(void **state)
{
	struct world *w = greeted("max_errors 3");

	expect(w, "FOO\r\n", "500");
	expect(w, "FOO\r\n", "500");
	expect(w, BEGIN TEXT, "250");
	expect(w, ".\r\n", "250");
	expect(w, "FOO\r\n", "500");
	expect(w, "FOO\r\n", "500");
	expect(w, "FOO\r\nNOOP\r\n", "500 5.5.2 Command not recognized\r\n421 4.7.0 ");
	assert_string_equal(world_heard(w), "");
	world_free(w);
}

static void
test_no_room_is_said_at_mail_and_data(void **state)
{
	struct world *w = greeted("");

	w->room = ENOSPC;
	expect(w, "MAIL FROM:<a@example.org>\r\n", "452 4.3.1");
	w->room = 0;
	expect(w, "MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\n", "250");
	w->room = ENOSPC;
	expect(w, "DATA\r\n", "452 4.3.1");
	w->room = 0;
	expect(w, "DATA\r\n", "354");
	expect(w, TEXT ".\r\n", "250");
	world_free(w);
}

/* A client that only sends: replies wait, then commands, and nothing is lost. */
static void
test_replies_wait_for_a_client_that_does_not_read(void **state)
{
	enum { N = 60000 };
	struct world *w = greeted("max_errors 1000000");
	char *in = malloc(N * 6 + 1);
	const char *heard;

	for (size_t i = 0; i < N; i++)
		memcpy(in + i * 6, "RSET\r\n", 7);
	w->takes = 0;
	world_send(w, in, N * 6);
	assert_true(w->nsend > 0);
	w->takes = SIZE_MAX;
	world_send(w, w->send, w->nsend);
	heard = world_heard(w);
	assert_int_equal(strlen(heard), N * strlen("250 2.0.0 OK\r\n"));
	assert_true(w->connected);
	world_free(w);
	free(in);
}

/* --- STARTTLS --- */

static void
test_starttls_forgets_everything(void **state)
{
	struct world *w = world_new("");

	w->gen->tls = (struct ga_tls_server *)(void *)w;	/* only compared with NULL here */
	world_connect(w);
	expect(w, HELLO, "220 test\r\n250-test\r\n250 STARTTLS");
	expect(w, "MAIL FROM:<a@example.org>\r\n", "250");
	expect(w, "STARTTLS\r\n", "220 2.0.0");
	assert_true(w->tls_on);
	expect(w, "RCPT TO:<b@example.net>\r\n", "503");
	expect(w, "MAIL FROM:<a@example.org>\r\n", "503");
	expect(w, "STARTTLS\r\n", "503");
	expect(w, HELLO, "250-test\r\n250-REQUIRETLS\r\n250 SIZE");
	expect(w, BEGIN, "250");
	expect(w, TEXT ".\r\n", "250");
	assert_non_null(memmem(w->messages[0].text.p, w->messages[0].text.n, "with ESMTPS id", 14));
	w->gen->tls = NULL;
	world_free(w);
}

static void
test_nothing_behind_starttls_is_run(void **state)
{
	struct world *w = world_new("");

	w->gen->tls = (struct ga_tls_server *)(void *)w;
	world_connect(w);
	expect(w, HELLO "STARTTLS\r\nNOOP\r\n", "220 test\r\n250-test\r\n250 STARTTLS\r\n554 5.5.1 ");
	assert_false(w->tls_on);
	w->gen->tls = NULL;
	world_free(w);
}

/* --- large bodies --- */

static void
test_a_large_body_goes_to_the_spool_as_it_comes(void **state)
{
	enum { N = 3000000 };
	struct world *w = greeted("max_header_size 10MiB");
	char *text = large(N);

	w->piece = 4321;
	expect(w, BEGIN, "250");
	expect_n(w, text, N + 3, "250 2.0.0 Queued as 00000001\r\n");
	assert_text(&w->messages[0], text, N);
	assert_int_equal(w->messages[0].header_size, w->messages[0].text.n - N + 12);
	world_free(w);
	free(text);
}

static void
test_a_spool_that_is_behind_stops_the_reading(void **state)
{
	enum { N = 3000000 };
	struct world *w = greeted("max_header_size 10MiB");
	char *text = large(N);

	w->answers_late = true;
	expect(w, BEGIN, "250");
	world_send(w, text, N + 3);
	assert_true(w->nsend > N / 2);
	assert_int_equal(w->pieces_waiting, 2);
	w->answers_late = false;
	world_send(w, w->send, w->nsend);
	assert_true(strncmp(world_heard(w), "250 2.0.0", 9) == 0);
	assert_text(&w->messages[0], text, N);
	world_free(w);
	free(text);
}

static void
test_a_spool_that_fails_refuses_after_the_end(void **state)
{
	static const struct { int error; const char *reply; } rows[] = {
		{ ENOSPC, "452 4.3.1" }, { EIO, "451 4.3.0" },
	};
	enum { N = 1000000 };
	char *text = large(N);

	for (size_t i = 0; i < 2; i++) {
		struct world *w = greeted("");

		w->piece_error = rows[i].error;
		expect(w, BEGIN, "250");
		expect_n(w, text, N + 3, rows[i].reply);
		expect(w, "DATA\r\n", "503");
		assert_int_equal(w->nmessages, 0);
		world_free(w);
	}
	free(text);
}

static void
test_a_client_that_goes_during_an_upload(void **state)
{
	struct world *w = greeted("");
	char *text = large(1000000);

	w->answers_late = true;
	expect(w, BEGIN, "250");
	world_send(w, text, 600000);
	world_write_pieces(w);
	world_send(w, text, 300000);
	w->nsend = 0;
	world_disconnect(w);
	world_free(w);
	free(text);
}

/* --- hooks --- */

typedef void any_fn(void);
#define HOOK(w, name, fn) world_hook((w), GA_HOOK_##name, (any_fn *)(void *)(fn))

static enum ga_verdict the_verdict;
static unsigned asked;
static struct ga_token token;
static unsigned cancelled;

static enum ga_verdict
answer_at_once(struct ga_call *c, const void *event)
{
	asked++;
	if (the_verdict == GA_REJECT)
		ga_reply(c, 554, "5.7.9", "Not you");
	if (the_verdict == GA_TEMPFAIL)
		ga_reply(c, 550, "5.7.9", "contradicts itself");
	return the_verdict;
}

static enum ga_verdict
goes_on(struct ga_call *c, void *arg)
{
	return answer_at_once(c, NULL);
}

static void
count_cancelled(void *arg, enum ga_why why)
{
	cancelled++;
}

static enum ga_verdict
answer_later(struct ga_call *c, const void *event)
{
	static const struct ga_wait wait = { .size = sizeof wait, .timeout_ms = 60000,
		.label = "test", .resume = goes_on, .cancelled = count_cancelled };

	return ga_suspend(c, &wait, &token);
}

static void
test_a_module_refuses_at_each_step(void **state)
{
	static const enum ga_hook_id hooks[] = { GA_HOOK_connect, GA_HOOK_helo, GA_HOOK_mail,
		GA_HOOK_rcpt, GA_HOOK_eom };
	static const char *const before[] = { "", "220 test\r\n", "220 test\r\n250-test\r\n250 SIZE\r\n",
		"220 test\r\n250-test\r\n250 SIZE\r\n250 2.1.0 Sender OK\r\n",
		"220 test\r\n250-test\r\n250 SIZE\r\n250 2.1.0 Sender OK\r\n250 2.1.5 Recipient OK\r\n"
		"354 End data with <CR><LF>.<CR><LF>\r\n" };
	static const struct { enum ga_verdict v; const char *reply; } rows[] = {
		{ GA_REJECT, "554 5.7.9 Not you\r\n" }, { GA_TEMPFAIL, "451 4.7.1 contradicts itself\r\n" },
		{ GA_CLOSE, "421 4.7.0 " },
	};

	for (size_t i = 0; i < sizeof hooks / sizeof hooks[0]; i++)
		for (size_t k = 0; k < 3; k++) {
			struct world *w = world_new("");
			const char *heard;

			the_verdict = rows[k].v;
			world_hook(w, hooks[i], (any_fn *)(void *)answer_at_once);
			world_connect(w);
			world_say(w, HELLO);
			world_say(w, "MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\n");
			world_say(w, i == 4 ? "DATA\r\n" : "NOOP\r\n");
			if (i == 4)
				world_say(w, TEXT ".\r\n");
			heard = world_heard(w);
			assert_memory_equal(heard, before[i], strlen(before[i]));
			heard += strlen(before[i]);
			if (strncmp(heard, rows[k].reply, strlen(rows[k].reply)) != 0)
				fail_msg("hook %zu: %s, not %s", i, heard, rows[k].reply);
			assert_int_equal(w->nmessages, 0);
			world_free(w);
		}
}

/* What was said of a refused recipient stays in memory as long as its transaction. */
static void
test_a_module_that_defers_each_recipient_does_not_keep_the_session_for_ever(void **state)
{
	struct world *w = world_new("");
	unsigned said = 0;

	w->conf.max_recipients = 10;
	the_verdict = GA_TEMPFAIL;
	HOOK(w, rcpt, answer_at_once);
	world_connect(w);
	world_say(w, HELLO "MAIL FROM:<a@example.org>\r\n");
	while (strstr(world_heard(w), "421 4.7.0 ") == NULL && said < 3000) {
		world_say(w, "RCPT TO:<b@example.net>\r\n");
		said++;
	}
	assert_in_range(said, 1000, 1100);
	world_free(w);
}

static void
test_a_module_accepts_what_would_be_refused(void **state)
{
	struct world *w = world_new("");

	the_verdict = GA_ACCEPT;
	w->relays = false;
	HOOK(w, rcpt, answer_at_once);
	world_connect(w);
	expect(w, HELLO BEGIN, "220 test\r\n250-test\r\n250 SIZE\r\n250 2.1.0 Sender OK\r\n"
	    "250 2.1.5 Recipient OK\r\n354 ");
	expect(w, TEXT ".\r\n", "250 2.0.0");
	world_free(w);
}

static void
test_a_discarded_message_is_queued_nowhere(void **state)
{
	static const enum ga_hook_id hooks[] = { GA_HOOK_mail, GA_HOOK_eom };

	for (size_t i = 0; i < 2; i++) {
		struct world *w = greeted("");

		the_verdict = GA_DISCARD;
		world_hook(w, hooks[i], (any_fn *)(void *)answer_at_once);
		expect(w, BEGIN, "250");
		expect(w, TEXT ".\r\n", "250 2.0.0 Queued as 00000001\r\n");
		assert_int_equal(w->nmessages, 0);
		world_free(w);
	}
}

static void
test_commands_wait_while_a_module_thinks(void **state)
{
	static const enum ga_hook_id hooks[] = { GA_HOOK_helo, GA_HOOK_mail, GA_HOOK_rcpt, GA_HOOK_eom };

	for (size_t i = 0; i < sizeof hooks / sizeof hooks[0]; i++) {
		struct world *w = connected("");
		size_t n;

		the_verdict = GA_PASS;
		world_hook(w, hooks[i], (any_fn *)(void *)answer_later);
		world_say(w, HELLO BEGIN TEXT ".\r\nNOOP\r\n");
		n = w->nout;
		world_turn(w);
		assert_int_equal(w->nout, n);
		assert_true(ga_resume(w->worker->loop, token));
		assert_int_equal(w->nout, n);
		world_turn(w);
		world_send(w, "", 0);
		assert_string_equal(world_heard(w), "250-test\r\n250 SIZE\r\n250 2.1.0 Sender OK\r\n"
		    "250 2.1.5 Recipient OK\r\n354 End data with <CR><LF>.<CR><LF>\r\n"
		    "250 2.0.0 Queued as 00000001\r\n250 2.0.0 OK\r\n");
		world_free(w);
	}
}

static void
test_a_client_that_goes_while_a_module_thinks(void **state)
{
	static const enum ga_hook_id hooks[] = { GA_HOOK_helo, GA_HOOK_mail, GA_HOOK_rcpt, GA_HOOK_eom };

	for (size_t i = 0; i < sizeof hooks / sizeof hooks[0]; i++) {
		struct world *w = connected("");

		cancelled = 0;
		world_hook(w, hooks[i], (any_fn *)(void *)answer_later);
		world_say(w, HELLO BEGIN TEXT ".\r\nNOOP\r\n");
		w->fails = true;
		world_send(w, "x", 1);
		assert_false(w->connected);
		assert_int_equal(cancelled, 1);
		assert_false(ga_resume(w->worker->loop, token));
		w->fails = false;
		w->nsend = 0;
		world_turn(w);
		world_free(w);
	}
}

static void
test_a_large_body_stays_whole_for_a_module(void **state)
{
	enum { N = 1000000 };
	struct world *w = greeted("");
	char *text = large(N);

	memcpy(text, "\r\n", 2);
	the_verdict = GA_PASS;
	HOOK(w, eom, answer_at_once);
	w->piece_error = EIO;		/* would show an upload */
	expect(w, BEGIN, "250");
	expect_n(w, text, N + 3, "250 2.0.0");
	assert_text(&w->messages[0], text, N);
	world_free(w);
	free(text);
}

static char lines[4096];

static void
note_line(struct ga_call *c, const struct ga_ev_line *ev)
{
	size_t n = strlen(lines);

	assert_true(ev->kind == GA_IN_CMD || ev->kind == GA_IN_REPLY);
	snprintf(lines + n, sizeof lines - n, "%c%.*s\n", ev->kind == GA_IN_CMD ? '<' : '>',
	    (int)ev->text.n, ev->text.p);
}

static void
test_lines_are_told_as_they_were_said(void **state)
{
	struct world *w = world_new("");

	lines[0] = '\0';
	HOOK(w, line, note_line);
	world_connect(w);
	world_say(w, HELLO BEGIN TEXT ".\r\nQUIT\r\n");
	assert_string_equal(lines, ">220 test\n<EHLO client.example\n>250-test\n>250 SIZE\n"
	    "<MAIL FROM:<a@example.org>\n>250 2.1.0 Sender OK\n"
	    "<RCPT TO:<b@example.net>\n>250 2.1.5 Recipient OK\n<DATA\n"
	    ">354 End data with <CR><LF>.<CR><LF>\n>250 2.0.0 Queued as 00000001\n<QUIT\n"
	    ">221 2.0.0 Bye\n");
	world_free(w);
}

/* --- the model --- */

struct model {
	bool helo, mail, chunks, failed;
	unsigned rcpts;
};

static void
model_reset(struct model *m)
{
	*m = (struct model){ .helo = m->helo };
}

/* A chunk of a message; any chunk that is refused spoils the transaction. */
static char
model_chunk(struct model *m, bool last, bool good)
{
	if (!m->mail || m->failed || (!m->chunks && m->rcpts == 0)) {
		m->failed = m->mail;
		return '5';
	}
	m->chunks = true;
	if (last)
		model_reset(m);
	return good ? '2' : '5';
}

/* The reply's first digit and what changes, as RFC 5321 has it. */
static char
model_step(struct model *m, unsigned command)
{
	switch (command) {
	case 0: case 1:			/* EHLO, HELO */
		*m = (struct model){ .helo = true };
		return '2';
	case 2:				/* MAIL */
		if (!m->helo || m->mail)
			return '5';
		m->mail = true;
		return '2';
	case 3:				/* RCPT */
		if (!m->mail || m->chunks || m->failed)
			return '5';
		m->rcpts++;
		return '2';
	case 4: case 5: case 6:		/* RCPT, MAIL wrong; an unknown command */
		return '5';
	case 7: case 8:			/* a message, good and with a NUL */
		if (m->rcpts == 0 || m->chunks || m->failed)
			return '5';
		model_reset(m);
		return command == 7 ? '2' : '5';
	case 9:				/* RSET */
		model_reset(m);
		return '2';
	case 12:			/* BDAT: a chunk; the last one; a last one with a bare LF */
		return model_chunk(m, false, true);
	case 13:
		return model_chunk(m, true, true);
	case 14:
		return model_chunk(m, true, false);
	case 10:			/* STARTTLS, not available */
		return '4';
	default:
		return '2';		/* NOOP */
	}
}

static void
test_random_commands_follow_the_model(void **state)
{
	static const struct { const char *p; size_t n; } commands[] = {
#define C(lit) { lit, sizeof(lit) - 1 }
		C(HELLO), C("EHLO other.example\r\n"), C("MAIL FROM:<a@example.org>\r\n"),
		C("RCPT TO:<b@example.net>\r\n"), C("RCPT TO:<b@@>\r\n"), C("MAIL FROM:<a@\r\n"),
		C("XYZZY\r\n"), C("DATA\r\n"), C("DATA\r\n"), C("RSET\r\n"), C("STARTTLS\r\n"),
		C("NOOP\r\n"), C("BDAT 6\r\nRSET\r\n"), C("BDAT 6 LAST\r\nDATA\r\n"),
		C("BDAT 3 LAST\r\nx\ny"),
	};
	struct world *w = connected("max_errors 1000000");
	struct model m = { 0 };
	const char *heard;

	srandom(4711);
	for (unsigned i = 0; i < 200000; i++) {
		unsigned c = (unsigned)random() % 15;
		char digit = model_step(&m, c);

		world_send(w, commands[c].p, commands[c].n);
		heard = world_heard(w);
		if ((c == 7 || c == 8) && heard[0] == '3') {
			world_send(w, c == 7 ? "x: y\r\n.\r\n" : "x\0y\r\n.\r\n", c == 7 ? 9 : 8);
			heard = world_heard(w);
		}
		if (heard[0] != digit)
			fail_msg("command %u, \"%.20s\": %s", i, commands[c].p, heard);
		ga_pool_reset(w->pool);
	}
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_messages_arrive_however_the_octets_are_cut),
		cmocka_unit_test(test_250_only_after_the_answer_of_intake),
		cmocka_unit_test(test_what_intake_refuses_is_said),
		cmocka_unit_test(test_a_client_that_goes_while_its_message_is_stored),
		cmocka_unit_test(test_a_client_that_goes_in_the_middle_leaves_nothing),
		cmocka_unit_test(test_a_half_closed_client_gets_its_replies),
		cmocka_unit_test(test_commands_out_of_order),
		cmocka_unit_test(test_syntax_of_commands),
		cmocka_unit_test(test_a_web_browser_is_not_answered),
		cmocka_unit_test(test_long_lines_are_refused_and_dropped_whole),
		cmocka_unit_test(test_a_line_without_end_ends_the_session),
		cmocka_unit_test(test_bare_newlines_never_end_a_command),
		cmocka_unit_test(test_a_smuggled_transaction_stays_text),
		cmocka_unit_test(test_bad_messages_are_refused_after_their_end),
		cmocka_unit_test(test_a_refused_message_without_end_ends_the_session),
		cmocka_unit_test(test_text_behind_a_refused_data_is_not_run),
		cmocka_unit_test(test_only_clients_that_may_relay_can_send_to_anyone),
		cmocka_unit_test(test_a_stranger_that_speaks_first_is_refused),
		cmocka_unit_test(test_too_many_recipients),
		cmocka_unit_test(test_too_many_errors_end_the_session),
		cmocka_unit_test(test_no_room_is_said_at_mail_and_data),
		cmocka_unit_test(test_replies_wait_for_a_client_that_does_not_read),
		cmocka_unit_test(test_starttls_forgets_everything),
		cmocka_unit_test(test_nothing_behind_starttls_is_run),
		cmocka_unit_test(test_a_large_body_goes_to_the_spool_as_it_comes),
		cmocka_unit_test(test_a_spool_that_is_behind_stops_the_reading),
		cmocka_unit_test(test_a_spool_that_fails_refuses_after_the_end),
		cmocka_unit_test(test_a_client_that_goes_during_an_upload),
		cmocka_unit_test(test_a_module_refuses_at_each_step),
		cmocka_unit_test(test_a_module_that_defers_each_recipient_does_not_keep_the_session_for_ever),
		cmocka_unit_test(test_a_module_accepts_what_would_be_refused),
		cmocka_unit_test(test_a_discarded_message_is_queued_nowhere),
		cmocka_unit_test(test_commands_wait_while_a_module_thinks),
		cmocka_unit_test(test_a_client_that_goes_while_a_module_thinks),
		cmocka_unit_test(test_a_large_body_stays_whole_for_a_module),
		cmocka_unit_test(test_lines_are_told_as_they_were_said),
		cmocka_unit_test(test_random_commands_follow_the_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
