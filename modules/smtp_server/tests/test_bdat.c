/*
 * test_bdat.c - messages in chunks (RFC 3030), see world.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "dialogue.h"

#define BINARY "MAIL FROM:<a@example.org> BODY=BINARYMIME\r\nRCPT TO:<b@example.net>\r\n"

/* The text in chunks of `size` octets, each with its BDAT; its length. */
static size_t
in_chunks(char *to, const char *text, size_t n, size_t size)
{
	char *at = to;

	do {
		size_t k = size < n ? size : n;

		at += sprintf(at, "BDAT %zu%s\r\n", k, k == n ? " LAST" : "");
		memcpy(at, text, k);
		at += k;
		text += k;
		n -= k;
	} while (n > 0);
	return (size_t)(at - to);
}

/* The last reply of what was heard. */
static const char *
last_line(const char *heard)
{
	size_t n = strlen(heard);

	while (n > 2 && heard[n - 3] != '\n')
		n--;
	return n > 2 ? heard + n - 2 : heard;
}

/* An envelope, the text in chunks of each size: the last reply must begin so. */
static void
expect_text(const char *statements, const char *envelope, const char *text, size_t n,
    const char *reply, const char *stored, size_t nstored)
{
	char *in = malloc(64 * (n + 2));

	for (size_t size = 1; size <= n + 1; size = size < 8 ? size + 1 : 2 * size) {
		struct world *w = greeted(statements);
		const char *last;

		expect(w, envelope, "250");
		world_send(w, in, in_chunks(in, text, n, size));
		last = last_line(world_heard(w));
		if (strncmp(last, reply, strlen(reply)) != 0)
			fail_msg("chunks of %zu: %s, not %s", size, last, reply);
		assert_int_equal(w->nmessages, stored != NULL);
		if (stored != NULL)
			assert_text(&w->messages[0], stored, nstored);
		expect(w, "DATA\r\n", "503 5.5.1 MAIL first");
		world_free(w);
	}
	free(in);
}

/* --- the way of a message --- */

static void
test_a_message_arrives_whatever_its_chunks(void **state)
{
	static const char text[] = "Subject: hi\r\n\r\n.\r\n..dot\r\n.\r\n\r\nlast\r\n";

	expect_text("", ENVELOPE, text, sizeof text - 1, "250 2.0.0 Queued as 00000001\r\n",
	    text, sizeof text - 1);
}

static void
test_chunks_are_answered_however_the_octets_are_cut(void **state)
{
	static const char in[] = HELLO ENVELOPE "BDAT 10\r\nSubject: hBDAT 0\r\nBDAT 9\r\ni\r\n\r\nbodyBDAT 2 last\r\n\r\n"
	    ENVELOPE "BDAT 23 LAST\r\nMAIL FROM:<x>\r\n\r\nRSET\r\nNOOP\r\n"
	    ENVELOPE "BDAT 0 LAST\r\n" "QUIT\r\n";

	for (size_t piece = 1; piece < sizeof in; piece++) {
		struct world *w = connected("");

		w->piece = piece;
		world_say(w, in);
		assert_string_equal(world_heard(w), "250-test\r\n250 SIZE\r\n"
		    "250 2.1.0 Sender OK\r\n250 2.1.5 Recipient OK\r\n"
		    "250 2.0.0 10 octets received\r\n250 2.0.0 0 octets received\r\n"
		    "250 2.0.0 9 octets received\r\n250 2.0.0 Queued as 00000001\r\n"
		    "250 2.1.0 Sender OK\r\n250 2.1.5 Recipient OK\r\n"
		    "250 2.0.0 Queued as 00000002\r\n250 2.0.0 OK\r\n"
		    "250 2.1.0 Sender OK\r\n250 2.1.5 Recipient OK\r\n"
		    "250 2.0.0 Queued as 00000003\r\n221 2.0.0 Bye\r\n");
		assert_int_equal(w->nmessages, 3);
		assert_text(&w->messages[0], "Subject: hi\r\n\r\nbody\r\n", 21);
		assert_text(&w->messages[1], "MAIL FROM:<x>\r\n\r\nRSET\r\n", 23);
		world_free(w);
	}
}

static void
test_a_large_body_in_chunks_goes_to_the_spool_as_it_comes(void **state)
{
	enum { N = 3000000 };
	static const size_t sizes[] = { 4095, 65537, 1000000, N };
	char *text = large(N), *in = malloc(2 * N);

	for (size_t i = 0; i < 4; i++) {
		struct world *w = greeted("max_header_size 10MiB");

		w->piece = 4321;
		expect(w, ENVELOPE, "250");
		w->answers_late = true;
		world_send(w, in, in_chunks(in, text, N, sizes[i]));
		assert_true(w->nsend > N / 2);
		assert_int_equal(w->pieces_waiting, 2);
		w->answers_late = false;
		world_send(w, w->send, w->nsend);
		assert_string_equal(last_line(world_heard(w)), "250 2.0.0 Queued as 00000001\r\n");
		assert_text(&w->messages[0], text, N);
		world_free(w);
	}
	free(text);
	free(in);
}

static void
test_a_spool_that_fails_refuses_the_next_chunk(void **state)
{
	char *text = large(400000);
	struct world *w = greeted("");

	w->piece_error = ENOSPC;
	expect(w, ENVELOPE "BDAT 400000\r\n", "250");
	w->answers_late = true;
	expect_n(w, text, 400000, "250");
	w->answers_late = false;
	expect(w, "BDAT 1\r\nx", "452 4.3.1");
	expect(w, "BDAT 1 LAST\r\nx", "503 5.5.1");
	expect(w, "RSET\r\n" ENVELOPE "BDAT 8 LAST\r\na: b\r\n\r\n", "250");
	assert_int_equal(w->nmessages, 1);
	world_free(w);
	free(text);
}

static void
test_a_client_that_goes_in_a_chunk_leaves_nothing(void **state)
{
	char *text = large(600000);
	struct world *w = greeted("");

	w->answers_late = true;
	expect(w, ENVELOPE "BDAT 1000000 LAST\r\n", "250");
	world_send(w, text, 600000);
	world_disconnect(w);
	world_free(w);
	free(text);
}

/* The spool still has pieces of the message that was given up. */
static void
test_rset_during_an_upload_leaves_the_next_message_whole(void **state)
{
	static const char *const resets[] = { "RSET\r\n", HELLO, "HELO c.example\r\n" HELLO };
	char *text = large(600000);

	for (size_t i = 0; i < 3; i++) {
		struct world *w = greeted("max_header_size 10MiB");

		expect(w, ENVELOPE "BDAT 500000\r\n", "250");
		w->answers_late = true;
		expect_n(w, text, 500000, "250 2.0.0 500000 octets");
		assert_true(w->pieces_waiting > 0);
		expect(w, resets[i], "250");
		expect(w, "BDAT 2 LAST\r\n\r\n", "503 5.5.1 MAIL first");
		expect(w, ENVELOPE "BDAT 600000\r\n", "250");
		world_send(w, text, 600000);
		w->piece_error = EIO;			/* of the one that nobody waits for */
		world_write_pieces(w);
		w->piece_error = 0;
		world_disconnect(w);
		world_free(w);
	}
	free(text);
}

static void
test_no_room_is_said_after_the_first_chunk(void **state)
{
	struct world *w = greeted("");

	expect(w, ENVELOPE, "250");
	w->room = ENOSPC;
	expect(w, "BDAT 4\r\nabc", "");
	expect(w, "d", "452 4.3.1");
	w->room = 0;
	expect(w, "BDAT 4\r\nabcd", "503 5.5.1");
	world_free(w);
}

/* Nothing is read while bodies fill the memory that they may have. */
static void
test_a_chunk_waits_for_memory(void **state)
{
	struct world *w = greeted("");

	expect(w, ENVELOPE "BDAT 4\r\na: b", "250");
	ga_body_memory_limit(1);
	expect(w, "BDAT 2 LAST\r\n\r\nNOOP\r\n", "");
	assert_string_equal(world_heard(w), "");
	usleep(60000);
	world_turn(w);
	assert_string_equal(world_heard(w), "");
	ga_body_memory_limit(0);
	usleep(60000);
	world_turn(w);
	expect(w, "", "250 2.0.0 Queued as 00000001\r\n250 2.0.0 OK\r\n");
	assert_text(&w->messages[0], "a: b\r\n", 6);
	world_free(w);
}

/* --- order --- */

static void
test_chunks_out_of_order_are_read_and_refused(void **state)
{
	static const struct { const char *before, *reply; } rows[] = {
		{ "NOOP\r\n", "503 5.5.1 Say EHLO" },
		{ HELLO, "503 5.5.1 MAIL first" },
		{ HELLO "MAIL FROM:<a@example.org>\r\n", "503 5.5.1 RCPT first" },
		{ HELLO "MAIL FROM:<a@example.org>\r\nRCPT TO:<bad>\r\n", "554 5.5.1 No valid" },
		{ "HELO c.example\r\n" ENVELOPE, "503 5.5.1 Say EHLO" },
		{ HELLO ENVELOPE "BDAT 3\r\nxyz" "EHLO d.example\r\n", "503 5.5.1 MAIL first" },
		{ HELLO ENVELOPE "BDAT 3\r\nxyz" "RSET\r\n", "503 5.5.1 MAIL first" },
		{ HELLO ENVELOPE "BDAT 6 LAST\r\nx: y\r\n", "503 5.5.1 MAIL first" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		for (int last = 0; last < 2; last++) {
			struct world *w = connected("");
			size_t had;

			world_say(w, rows[i].before);
			world_heard(w);
			had = w->nmessages;
			expect(w, last ? "BDAT 12 LAST\r\n" : "BDAT 12\r\n", "");
			expect(w, "DATA\r\nQUIT\r", "");
			expect(w, "\n", rows[i].reply);
			expect(w, "NOOP\r\n", "250 2.0.0 OK\r\n");
			expect(w, "DATA\r\n", "50");
			assert_int_equal(w->nmessages, had);
			world_free(w);
		}
}

static void
test_a_chunk_outside_tls_is_read_where_tls_is_required(void **state)
{
	struct world *w = greeted("");

	w->conf.require_tls = true;
	expect(w, "BDAT 10 LAST\r\nNOOP\r\nQUIT", "503 5.5.1 MAIL first");
	expect(w, "NOOP\r\n", "250 2.0.0 OK\r\n");
	world_free(w);
}

static void
test_after_a_refused_chunk_all_is_refused_until_rset(void **state)
{
	static const char *const refused[] = {
		"MAIL FROM:<a@example.org>\r\nBDAT 2\r\nxx",		/* no recipient */
		"MAIL FROM:<a@example.org>\r\nRCPT TO:<>\r\nBDAT 2 LAST\r\nxx",
		ENVELOPE "BDAT 2000\r\n",				/* too large, see below */
		ENVELOPE "BDAT 2\r\nxxBDAT 2000\r\n",
	};
	char big[2000];

	memset(big, 'x', sizeof big);
	for (size_t i = 0; i < 4; i++) {
		struct world *w = greeted("max_message_size 1500\nmax_errors 1000");

		world_say(w, refused[i]);
		if (i >= 2)
			world_send(w, big, sizeof big);
		assert_int_equal(last_line(world_heard(w))[0], '5');
		expect(w, "RCPT TO:<b@example.net>\r\n", "503 5.5.1");
		expect(w, "BDAT 6 LAST\r\nx: y\r\n", "503 5.5.1");
		expect(w, "BDAT 0 LAST\r\n", "503 5.5.1");
		expect(w, "BDAT 6\r\nDATA\r\n", "503 5.5.1");
		expect(w, "MAIL FROM:<a@example.org>\r\n", "503 5.5.1");
		expect(w, "DATA\r\n", "503 5.5.1");
		expect(w, "RSET\r\n", "250");
		expect(w, "DATA\r\n", "503 5.5.1 MAIL first");
		expect(w, "BDAT 6 LAST\r\nx: y\r\n", "503 5.5.1 MAIL first");
		expect(w, ENVELOPE "BDAT 6 LAST\r\nx: y\r\n", "250");
		assert_int_equal(w->nmessages, 1);
		assert_text(&w->messages[0], "x: y\r\n", 6);
		world_free(w);
	}
}

static void
test_nothing_but_chunks_comes_between_chunks(void **state)
{
	struct world *w = greeted("max_errors 1000");

	expect(w, ENVELOPE "BDAT 4\r\nx: y", "250");
	expect(w, "RCPT TO:<c@example.net>\r\n", "503 5.5.1");
	expect(w, "MAIL FROM:<a@example.org>\r\n", "503 5.5.1");
	expect(w, "DATA\r\n", "503 5.5.1");
	expect(w, "NOOP\r\n", "250");
	expect(w, "VRFY x\r\n", "252");
	expect(w, "BDAT 2 LAST\r\n\r\n", "250 2.0.0 Queued");
	assert_text(&w->messages[0], "x: y\r\n", 6);
	assert_true(ga_str_eq(w->messages[0].rcpts, GA_STR("b@example.net")));
	expect(w, ENVELOPE "BDAT 4\r\nx: y", "250");
	expect(w, "DATA\r\nx\r\n.\r\n", "503 5.5.1 The message comes by BDAT\r\n421 4.5.0");
	world_free(w);
}

static void
test_a_pipelined_group_may_end_in_chunks(void **state)
{
	struct world *w = greeted("");

	expect(w, ENVELOPE "BDAT 6\r\nx: y\r\nBDAT 5 LAST\r\n\r\nz\r\nQUIT\r\n",
	    "250 2.1.0 Sender OK\r\n250 2.1.5 Recipient OK\r\n250 2.0.0 6 octets received\r\n"
	    "250 2.0.0 Queued as 00000001\r\n221 2.0.0 Bye\r\n");
	assert_text(&w->messages[0], "x: y\r\n\r\nz\r\n", 11);
	world_free(w);
}

/* --- the number --- */

/* What follows may be anything, so nothing of it is run. */
static void
test_a_chunk_of_unknown_length_ends_the_session(void **state)
{
	static const char *const wrong[] = {
		"BDAT", "BDAT ", "BDAT LAST", "BDAT +5", "BDAT -1", "BDAT 0x10", "BDAT 5h", "BDAT 5,5",
		"BDAT 5.0", "BDAT 5 LOST", "BDAT 5 LAST LAST", "BDAT 5 5", "BDAT five", "bdat 1e3",
		"BDAT 5\tLAST", "BDAT 5\rLAST", "BDAT 5\nLAST", "BDAT\t5", "BDAT5", "BDAT 5 LAST\x01",
	};

	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		struct world *w = greeted("");
		const char *heard;
		char in[200];

		expect(w, ENVELOPE, "250");
		snprintf(in, sizeof in, "%s\r\nRSET\r\n" ENVELOPE "DATA\r\nx\r\n.\r\n", wrong[i]);
		world_say(w, in);
		heard = world_heard(w);
		if (heard[0] != '5' || heard[1] != '0' || strncmp(last_line(heard), "421 4.5.0", 9) != 0)
			fail_msg("%s: %s", wrong[i], heard);
		assert_int_equal(w->nmessages, 0);
		world_free(w);
	}
}

static void
test_a_bdat_line_that_is_too_long_ends_the_session(void **state)
{
	for (size_t n = 600; n < 200000; n *= 7) {
		struct world *w = greeted("");
		char *in = malloc(n + 20);

		memset(in, '0', n);
		memcpy(in, "BDAT ", 5);
		memcpy(in + n, "\r\nNOOP\r\n", 9);
		world_say(w, in);
		assert_int_equal(strncmp(world_heard(w), "500 5.5.2 Line too long\r\n421 4.5.0", 34), 0);
		world_free(w);
		free(in);
	}
}

static void
test_leading_zeros_are_a_number(void **state)
{
	struct world *w = greeted("");

	expect(w, ENVELOPE "BDAT 00000000000000000000000000000000000008 LAST\r\na: b\r\n\r\nNOOP\r\n",
	    "250 2.1.0 Sender OK\r\n250 2.1.5 Recipient OK\r\n250 2.0.0 Queued as 00000001\r\n250 2.0.0 OK\r\n");
	world_free(w);
}

/* Larger than anything that can be read: refused, dropped up to the bound. */
static void
test_huge_sizes_do_not_overflow(void **state)
{
	static const char *const huge[] = {
		"2147483647", "2147483648", "4294967295", "4294967296", "4294967301",
		"9223372036854775807", "9223372036854775808", "18446744073709551615",
		"18446744073709551616", "18446744073709551621",
		"99999999999999999999999999999999999999999999",
	};
	enum { N = 2 * (2000 + 1048576) + 2 };
	char *octets = malloc(N);

	memset(octets, 'x', N);
	for (size_t i = 0; i < sizeof huge / sizeof huge[0]; i++)
		for (int last = 0; last < 2; last++) {
			struct world *w = greeted("max_message_size 2000");
			char in[200];

			snprintf(in, sizeof in, ENVELOPE "BDAT 2\r\na:BDAT %s%s\r\n", huge[i], last ? " LAST" : "");
			expect(w, in, "250 2.1.0 Sender OK\r\n250 2.1.5 Recipient OK\r\n"
			    "250 2.0.0 2 octets received\r\n");
			assert_true(ga_body_memory() < 100000);
			expect_n(w, octets, N - 2, "");
			assert_true(ga_body_memory() < 100000);
			expect_n(w, octets, 2, "552 5.3.4 Message is too large\r\n421 4.7.0");
			assert_int_equal(w->nmessages, 0);
			world_free(w);
		}
	free(octets);
}

/* --- bounds --- */

static void
test_the_size_limit_is_exact_and_said_in_the_middle(void **state)
{
	struct world *w = greeted("max_message_size 2000");
	char text[3000];

	memset(text, 'x', sizeof text);
	memcpy(text, "a: b\r\n\r\n", 8);
	expect(w, ENVELOPE "BDAT 1000\r\n", "250");
	expect_n(w, text, 1000, "250 2.0.0");
	expect(w, "BDAT 1000 LAST\r\n", "");
	expect_n(w, text + 1000, 1000, "250 2.0.0 Queued");
	expect(w, ENVELOPE "BDAT 1000\r\n", "250");
	expect_n(w, text, 1000, "250 2.0.0");
	expect(w, "BDAT 1001\r\n", "");
	expect_n(w, text + 1000, 1001, "552 5.3.4");
	expect(w, "BDAT 1 LAST\r\nx", "503 5.5.1");
	expect(w, "RSET\r\n" ENVELOPE "BDAT 2001 LAST\r\n", "250");
	expect_n(w, text, 2001, "552 5.3.4");
	expect(w, ENVELOPE, "250 2.1.0 Sender OK\r\n250 2.1.5");	/* it was the last one */
	assert_int_equal(w->nmessages, 1);
	world_free(w);
}

static void
test_dropped_chunks_are_bounded_over_the_session(void **state)
{
	enum { N = 1100000 };
	struct world *w = greeted("max_message_size 2000\nmax_errors 1000");
	char *octets = calloc(1, N);

	expect(w, "BDAT 1100000\r\n", "");
	expect_n(w, octets, N, "503 5.5.1");
	expect(w, "RSET\r\nBDAT 1100000\r\n", "250");
	expect_n(w, octets, N, "503 5.5.1 MAIL first\r\n421 4.7.0");
	world_free(w);

	w = greeted("max_message_size 2000\nmax_errors 1000");
	expect(w, "BDAT 1100000\r\n", "");
	expect_n(w, octets, N, "503 5.5.1");
	expect(w, ENVELOPE "BDAT 6 LAST\r\na: b\r\n", "250");
	expect(w, "BDAT 1100000\r\n", "");
	expect_n(w, octets, N, "503 5.5.1 MAIL first\r\n");
	expect(w, "NOOP\r\n", "250");
	world_free(w);
	free(octets);
}

static void
test_a_million_chunks_of_one_octet_are_too_many(void **state)
{
	struct world *w = greeted("");
	uint64_t memory;
	size_t chunks = 0;

	expect(w, ENVELOPE, "250");
	memory = ga_body_memory();
	for (; chunks < 1000000 && w->connected; chunks++) {
		const char *heard;

		world_say(w, "BDAT 1\r\nx");
		heard = world_heard(w);
		if (strncmp(heard, "421 4.7.0 ", 10) == 0)
			break;
		assert_int_equal(strncmp(heard, "250 2.0.0 1 ", 12), 0);
	}
	assert_in_range(chunks, 10000, 10050);
	assert_true(ga_body_memory() - memory < 100000);
	world_free(w);
}

static void
test_many_chunks_are_fine_when_they_carry_something(void **state)
{
	enum { N = 12000 * 250 };
	struct world *w = greeted("max_header_size 10MiB");
	char *text = large(N), *in = malloc(2 * N);

	expect(w, ENVELOPE, "250");
	world_send(w, in, in_chunks(in, text, N, 256));
	assert_int_equal(strncmp(last_line(world_heard(w)), "250 2.0.0 Queued", 16), 0);
	world_free(w);
	free(text);
	free(in);
}

/* --- text --- */

static void
test_text_in_chunks_is_held_to_the_rules_of_data(void **state)
{
	static const struct { const char *p; size_t n; const char *reply, *normalized; } rows[] = {
#define R(lit, reply, normalized) { lit, sizeof(lit) - 1, reply, normalized }
		R("a: b\r\n\r\nx\ny\r\n", "550 5.6.0", "a: b\r\n\r\nx\r\ny\r\n"),
		R("a: b\r\n\r\nx\ry\r\n", "550 5.6.0", "a: b\r\n\r\nx\r\ny\r\n"),
		R("a: b\r\n\r\nx\r\r\n", "550 5.6.0", "a: b\r\n\r\nx\r\n\r\n"),
		R("a: b\r\n\r\nx\r", "550 5.6.0", "a: b\r\n\r\nx\r\n"),
		R("a: b\r\n\r\nx\n", "550 5.6.0", "a: b\r\n\r\nx\r\n"),
		R("a: b\n\nx\r\n", "550 5.6.0", "a: b\r\n\r\nx\r\n"),
		R("a: b\r\n\r\n\n.\nMAIL FROM:<c@example.org>\r\n", "550 5.6.0",
		    "a: b\r\n\r\n\r\n.\r\nMAIL FROM:<c@example.org>\r\n"),
		R("a: b\r\n\r\nx\0y\r\n", "554 5.6.0", NULL),
		R("a: \0b\r\n\r\nx\n", "554 5.6.0", NULL),
		R("Received: 1\r\nReceived: 2\r\nReceived: 3\r\n\r\n", "554 5.4.6", NULL),
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		expect_text("received_max 2", ENVELOPE, rows[i].p, rows[i].n, rows[i].reply, NULL, 0);
		if (rows[i].normalized != NULL)
			expect_text("bare_newlines normalize", ENVELOPE, rows[i].p, rows[i].n, "250 2.0.0",
			    rows[i].normalized, strlen(rows[i].normalized));
	}
}

static void
test_text_is_refused_behind_the_last_chunk(void **state)
{
	struct world *w = greeted("");

	expect(w, ENVELOPE "BDAT 3\r\nx\ny", "250");
	expect(w, "BDAT 3\r\nx\ny", "250 2.0.0");
	expect(w, "BDAT 0 LAST\r\n", "550 5.6.0");
	expect(w, ENVELOPE "BDAT 6 LAST\r\nx: y\r\n", "250 2.1.0");
	assert_int_equal(w->nmessages, 1);
	world_free(w);
}

/* The body's last line stays as it came; a header is made of lines. */
static void
test_a_last_line_without_crlf(void **state)
{
	expect_text("", ENVELOPE, "a: b\r\n\r\nbody", 12, "250", "a: b\r\n\r\nbody", 12);
	expect_text("", ENVELOPE, "a: b\r\n\r\n.", 9, "250", "a: b\r\n\r\n.", 9);
	expect_text("", ENVELOPE, "a: b", 4, "250", "a: b\r\n", 6);
	expect_text("", BINARY, "a: b", 4, "250", "a: b\r\n", 6);
}

/* Octets that lines and their ends are made of, and the CRLF that DATA needs at the end. */
static size_t
random_text(char *to)
{
	static const char octets[] = { '\r', '\n', '\r', '\n', '.', '.', 'a', ':', ' ', '\0', '\xfc' };
	size_t n = 0, len = (size_t)random() % 24, kinds = random() % 4 ? 9 : sizeof octets;

	while (n < len)
		if (random() % 3)
			to[n++] = octets[(size_t)random() % kinds];
		else
			n += (size_t)sprintf(to + n, "\r\n");
	return n + (size_t)sprintf(to + n, "\r\n");
}

/* As DATA has it: a dot at the start of a line, however the line before ended, doubled. */
static size_t
stuffed(char *to, const char *p, size_t n)
{
	size_t k = 0;

	for (size_t i = 0; i < n; i++) {
		if (p[i] == '.' && (i == 0 || p[i - 1] == '\n' || p[i - 1] == '\r'))
			to[k++] = '.';
		to[k++] = p[i];
	}
	return k + (size_t)sprintf(to + k, ".\r\n");
}

static void
test_any_text_is_the_same_in_chunks_and_by_data(void **state)
{
	static const char *const modes[] = { "", "bare_newlines normalize" };
	char text[64], wire[256], chunks[2048];

	srandom(4711);
	for (unsigned round = 0; round < 4000; round++) {
		struct world *w = greeted(modes[round % 2]);
		size_t n = random_text(text), messages;
		char reply[4];

		expect(w, BEGIN, "250");
		world_send(w, wire, stuffed(wire, text, n));
		snprintf(reply, 4, "%s", world_heard(w));
		messages = w->nmessages;
		expect(w, ENVELOPE, "250");
		world_send(w, chunks, in_chunks(chunks, text, n, 1 + (size_t)random() % 8));
		assert_memory_equal(last_line(world_heard(w)), reply, 3);
		assert_int_equal(w->nmessages, 2 * messages);
		if (messages > 0) {
			const struct world_message *a = &w->messages[0], *b = &w->messages[1];

			assert_int_equal(a->flags, b->flags);
			assert_int_equal(a->header_size, b->header_size);
			assert_int_equal(a->text.n, b->text.n);
			assert_text(b, world_after_trace(a->text).p, world_after_trace(a->text).n);
		}
		world_free(w);
	}
}

/* --- binary --- */

static void
test_binary_mail_may_contain_anything(void **state)
{
	static const char text[] = "a: b\r\n\r\nx\ny\rz\0\r\r\n\n\r\n.\r\n\xff\xfe\0\r";
	struct world *w;

	expect_text("", BINARY, text, sizeof text - 1, "250 2.0.0", text, sizeof text - 1);
	expect_text("bare_newlines normalize", BINARY, text, sizeof text - 1, "250 2.0.0",
	    text, sizeof text - 1);
	w = greeted("");
	expect(w, BINARY "BDAT 11 LAST\r\na: b\r\n\r\n\xff\n\n", "250");
	assert_int_equal(w->messages[0].flags, GA_MSG_BINARYMIME | GA_MSG_8BIT);
	world_free(w);
}

static void
test_the_header_of_binary_mail_is_text(void **state)
{
	expect_text("", BINARY, "a: b\nc: d\r\n\r\nx", 14, "550 5.6.0", NULL, 0);
	expect_text("", BINARY, "a: b\r\n\n\r\nx", 10, "550 5.6.0", NULL, 0);
	expect_text("", BINARY, "a: \0b\r\n\r\nx", 10, "554 5.6.0", NULL, 0);
	expect_text("received_max 1", BINARY, "Received: 1\r\nReceived: 2\r\n\r\n\0", 29, "554 5.4.6", NULL, 0);
}

static void
test_binary_mail_does_not_come_by_data(void **state)
{
	struct world *w = greeted("");

	expect(w, BINARY "DATA\r\n", "250 2.1.0 Sender OK\r\n250 2.1.5 Recipient OK\r\n503 5.5.1 BINARYMIME");
	expect(w, "BDAT 6 LAST\r\na: b\r\n", "250 2.0.0 Queued");
	expect(w, "MAIL FROM:<a@example.org> BODY=BINARY\r\n", "501 5.5.4");
	expect(w, "MAIL FROM:<a@example.org> BODY=\r\n", "501 5.5.4");
	expect(w, "MAIL FROM:<a@example.org> BODY=BINARYMIME BODY=7BIT\r\n", "501 5.5.4");
	expect(w, "HELO c.example\r\nMAIL FROM:<a@example.org> BODY=BINARYMIME\r\n", "250 test\r\n555 5.5.4");
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_message_arrives_whatever_its_chunks),
		cmocka_unit_test(test_chunks_are_answered_however_the_octets_are_cut),
		cmocka_unit_test(test_a_large_body_in_chunks_goes_to_the_spool_as_it_comes),
		cmocka_unit_test(test_a_spool_that_fails_refuses_the_next_chunk),
		cmocka_unit_test(test_a_client_that_goes_in_a_chunk_leaves_nothing),
		cmocka_unit_test(test_rset_during_an_upload_leaves_the_next_message_whole),
		cmocka_unit_test(test_no_room_is_said_after_the_first_chunk),
		cmocka_unit_test(test_a_chunk_waits_for_memory),
		cmocka_unit_test(test_chunks_out_of_order_are_read_and_refused),
		cmocka_unit_test(test_a_chunk_outside_tls_is_read_where_tls_is_required),
		cmocka_unit_test(test_after_a_refused_chunk_all_is_refused_until_rset),
		cmocka_unit_test(test_nothing_but_chunks_comes_between_chunks),
		cmocka_unit_test(test_a_pipelined_group_may_end_in_chunks),
		cmocka_unit_test(test_a_chunk_of_unknown_length_ends_the_session),
		cmocka_unit_test(test_a_bdat_line_that_is_too_long_ends_the_session),
		cmocka_unit_test(test_leading_zeros_are_a_number),
		cmocka_unit_test(test_huge_sizes_do_not_overflow),
		cmocka_unit_test(test_the_size_limit_is_exact_and_said_in_the_middle),
		cmocka_unit_test(test_dropped_chunks_are_bounded_over_the_session),
		cmocka_unit_test(test_a_million_chunks_of_one_octet_are_too_many),
		cmocka_unit_test(test_many_chunks_are_fine_when_they_carry_something),
		cmocka_unit_test(test_text_in_chunks_is_held_to_the_rules_of_data),
		cmocka_unit_test(test_any_text_is_the_same_in_chunks_and_by_data),
		cmocka_unit_test(test_text_is_refused_behind_the_last_chunk),
		cmocka_unit_test(test_a_last_line_without_crlf),
		cmocka_unit_test(test_binary_mail_may_contain_anything),
		cmocka_unit_test(test_the_header_of_binary_mail_is_text),
		cmocka_unit_test(test_binary_mail_does_not_come_by_data),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
