/*
 * test_mail_reply.c - replies of servers, well-behaved and not.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <greenarrow/mail.h>

static struct ga_reply_parser r;

static int feed(const char *p, size_t n, size_t *used)
{
	int state;

	ga_reply_reset(&r);
	*used = ga_reply_feed(&r, p, n, &state);
	return state;
}

static int feed_c(const char *s)
{
	size_t used;

	return feed(s, strlen(s), &used);
}

static void assert_line(unsigned i, const char *want)
{
	struct ga_str s = ga_reply_line(&r, i);

	assert_int_equal(s.n, strlen(want));
	assert_memory_equal(s.p, want, s.n);
}

static void test_one_line(void **state)
{
	assert_int_equal(feed_c("250 2.1.0 Ok\r\n"), 1);
	assert_int_equal(r.code, 250);
	assert_int_equal(r.lines, 1);
	assert_line(0, "2.1.0 Ok");
	assert_line(1, "");
	assert_int_equal(r.n, strlen("250 2.1.0 Ok"));
}

static void test_many_lines_whatever_the_pieces(void **state)
{
	static const char text[] = "250-mail.example\r\n250-SIZE 100\r\n250-\r\n250 HELP\r\n";

	for (size_t step = 1; step < sizeof(text); step++) {
		int st = 0;

		ga_reply_reset(&r);
		for (size_t at = 0; at < sizeof(text) - 1; at += step) {
			size_t n = sizeof(text) - 1 - at < step ? sizeof(text) - 1 - at : step;

			assert_int_equal(st, 0);
			assert_int_equal(ga_reply_feed(&r, text + at, n, &st), n);
		}
		assert_int_equal(st, 1);
		assert_int_equal(r.lines, 4);
		assert_line(0, "mail.example");
		assert_line(1, "SIZE 100");
		assert_line(2, "");
		assert_line(3, "HELP");
	}
}

static void test_stops_at_the_end_of_one_reply(void **state)
{
	static const char text[] = "220 go\r\n250 fake\r\n";
	size_t used;
	int st;

	assert_int_equal(feed(text, sizeof(text) - 1, &used), 1);
	assert_int_equal(used, 8);
	assert_int_equal(ga_reply_feed(&r, text + used, sizeof(text) - 1 - used, &st), 10);
	assert_int_equal(st, 1);
	assert_int_equal(r.code, 250);
	assert_int_equal(r.lines, 1);
}

static void test_code_alone(void **state)
{
	assert_int_equal(feed_c("354\r\n"), 1);
	assert_int_equal(r.code, 354);
	assert_line(0, "");
	assert_int_equal(feed_c("550 \r\n"), 1);
	assert_int_equal(r.code, 550);
	assert_int_equal(feed_c("250-a\r\n250\r\n"), 1);
	assert_int_equal(r.lines, 2);
}

static void test_lone_lf_ends_a_line(void **state)
{
	assert_int_equal(feed_c("250-a\n250 b\n"), 1);
	assert_line(1, "b");
}

static void test_what_is_not_smtp(void **state)
{
	static const char *const bad[] = {
		"\r\n", "2\r\n", "25\r\n", "25 x\r\n", "2x0 a\r\n", "150 x\r\n", "650 x\r\n", "050 x\r\n", "HTTP/1.1 200 OK\r\n",
		"250x\r\n", "250\tx\r\n", "2500 x\r\n", "250 a\rb\r\n", "250 a\r\r\n", "250\r-a\r\n",
		"250-a\r\n251 b\r\n", "250-a\r\n550 b\r\n", "250-a\r\n\r\n", " 250 a\r\n", "\xff",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (feed_c(bad[i]) != -1)
			fail_msg("taken: %s", bad[i]);
	assert_int_equal(feed_c("250-a\r\n25"), 0);
}

static void test_control_characters_become_question_marks(void **state)
{
	static const char text[] = "550-a\0b\r\n550 \x1b[2Jx\ty\x7f\r\n";
	size_t used;

	assert_int_equal(feed(text, sizeof(text) - 1, &used), 1);
	assert_line(0, "a?b");
	assert_line(1, "?[2Jx y?");
}

static void test_long_reply_is_read_to_its_end(void **state)
{
	int st = 0;

	ga_reply_reset(&r);
	for (int i = 0; i < 5000; i++) {
		ga_reply_feed(&r, "250-hello\r\n", 11, &st);
		assert_int_equal(st, 0);
	}
	ga_reply_feed(&r, "250 end\r\n", 9, &st);
	assert_int_equal(st, 1);
	assert_int_equal(r.lines, GA_REPLY_LINES);
	assert_line(GA_REPLY_LINES - 1, "hello");
	assert_line(GA_REPLY_LINES, "");
}

static void test_endless_reply_is_refused(void **state)
{
	int st = 0;
	size_t fed = 0;

	ga_reply_reset(&r);
	while (st == 0 && fed < 1000000)
		fed += ga_reply_feed(&r, "250-x\r\n", 7, &st);
	assert_int_equal(st, -1);
	ga_reply_reset(&r);
	ga_reply_feed(&r, "250 ", 4, &st);
	for (fed = 0; st == 0 && fed < 1000000; fed++)
		ga_reply_feed(&r, "x", 1, &st);
	assert_int_equal(st, -1);
}

static void test_long_line_is_cut(void **state)
{
	char text[3000];

	memset(text, 'x', sizeof(text));
	memcpy(text, "250-", 4);
	memcpy(text + 1996, "\r\n250 y\r\n", 10);
	assert_int_equal(feed_c(text), 1);
	assert_int_equal(ga_reply_line(&r, 0).n, 1020);
	assert_line(1, "y");
}

static void test_text_never_overflows(void **state)
{
	char text[1000];
	int st = 0;

	memset(text, 'x', sizeof(text));
	memcpy(text, "250-", 4);
	memcpy(text + 996, "\r\n", 2);
	ga_reply_reset(&r);
	for (int i = 0; i < 20; i++)
		assert_int_equal(ga_reply_feed(&r, text, 998, &st), 998);
	ga_reply_feed(&r, "250 y\r\n", 7, &st);
	assert_int_equal(st, 1);
	assert_int_equal(r.n, GA_REPLY_TEXT);
	assert_int_equal(r.lines, 5);
}

static void test_enhanced_code(void **state)
{
	static const struct { const char *in, *out; } c[] = {
		{ "550 5.1.1 no such user\r\n", "5.1.1" }, { "250 2.0.0\r\n", "2.0.0" },
		{ "450-4.123.456 x\r\n450 4.1.1\r\n", "4.123.456" },
		{ "550 4.1.1 x\r\n", "" }, { "250 5.0.0 x\r\n", "" }, { "550 5.\r\n", "" }, { "550 5.1\r\n", "" },
		{ "550 5.1.\r\n", "" }, { "550 5.1.x\r\n", "" }, { "550 5.1.1x\r\n", "" }, { "550 9.9.9\r\n", "" },
		{ "550 5..1 x\r\n", "" }, { "550 5.1234.1 x\r\n", "" }, { "550 5.1.1234 x\r\n", "" }, { "550\r\n", "" },
		{ "550 x 5.1.1\r\n", "" }, { "550-x\r\n550 5.1.1 y\r\n", "" }, { "354 3.0.0 x\r\n", "" },
	};

	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		struct ga_str e;

		assert_int_equal(feed_c(c[i].in), 1);
		e = ga_reply_enhanced(&r);
		assert_int_equal(e.n, strlen(c[i].out));
		assert_memory_equal(e.p, c[i].out, e.n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_line),
		cmocka_unit_test(test_many_lines_whatever_the_pieces),
		cmocka_unit_test(test_stops_at_the_end_of_one_reply),
		cmocka_unit_test(test_code_alone),
		cmocka_unit_test(test_lone_lf_ends_a_line),
		cmocka_unit_test(test_what_is_not_smtp),
		cmocka_unit_test(test_control_characters_become_question_marks),
		cmocka_unit_test(test_long_reply_is_read_to_its_end),
		cmocka_unit_test(test_endless_reply_is_refused),
		cmocka_unit_test(test_long_line_is_cut),
		cmocka_unit_test(test_text_never_overflows),
		cmocka_unit_test(test_enhanced_code),
	};

	return cmocka_run_group_tests_name("replies", tests, NULL, NULL);
}
