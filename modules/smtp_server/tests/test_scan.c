/*
 * test_scan.c - the end of data and nothing else is the end of data.
 *
 * The matrix is that of SMTP smuggling: 23 sequences that some server somewhere took
 * for the end of a message, 2 strays, and 2 that are the end.  Every one is fed whole,
 * octet by octet, and cut in two at each place: cutting must never change anything.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../scan.h"

struct result {
	char out[8192];
	size_t n;
	size_t used;		/* octets up to and with the end of data */
	bool end;
	struct smtpd_scan scan;
};

static void
store(void *arg, const char *p, size_t n)
{
	struct result *r = arg;

	assert_true(n > 0 && n <= sizeof r->out - r->n);
	memcpy(r->out + r->n, p, n);
	r->n += n;
}

static enum smtpd_scan_how how = SCAN_DOTTED;

/* Fed in pieces that end at cut, 2*cut ... ; once: only the first. */
static void
scan(struct result *r, const char *in, size_t n, size_t cut, bool once, bool normalize)
{
	size_t at = 0;

	memset(r, 0, sizeof *r);
	smtpd_scan_init(&r->scan, how, normalize, store, r);
	while (at < n && !r->end) {
		size_t piece = at > 0 && once ? n - at : cut < n - at ? cut : n - at;
		size_t used = smtpd_scan_feed(&r->scan, in + at, piece, &r->end);

		assert_true(used == piece || (r->end && used < piece));
		at += used;
	}
	r->used = at;
	if (how != SCAN_DOTTED)
		smtpd_scan_end(&r->scan);
	assert_true(r->n == r->scan.size);
}

static void
assert_same(const struct result *a, const struct result *b)
{
	assert_int_equal(a->end, b->end);
	assert_int_equal(a->used, b->used);
	assert_int_equal(a->n, b->n);
	assert_memory_equal(a->out, b->out, a->n);
	assert_int_equal(a->scan.bare_cr, b->scan.bare_cr);
	assert_int_equal(a->scan.bare_lf, b->scan.bare_lf);
	assert_int_equal(a->scan.nul, b->scan.nul);
	assert_int_equal(a->scan.eightbit, b->scan.eightbit);
	assert_int_equal(a->scan.long_line, b->scan.long_line);
	assert_int_equal(a->scan.received, b->scan.received);
	assert_int_equal(a->scan.in_header, b->scan.in_header);
	assert_int_equal(a->scan.header_size, b->scan.header_size);
}

/* However it is cut, the result is that of the whole, which is left in r. */
static void
scan_all_ways(struct result *r, const char *in, size_t n, bool normalize)
{
	struct result other;

	scan(r, in, n, n, true, normalize);
	for (size_t cut = 1; cut < n; cut++) {
		scan(&other, in, n, cut, true, normalize);
		assert_same(r, &other);
	}
	for (size_t cut = 1; cut < 5; cut++) {
		scan(&other, in, n, cut, false, normalize);
		assert_same(r, &other);
	}
}

struct sequence {
	const char *p;
	size_t n;
};
#define S(lit) { lit, sizeof(lit) - 1 }

static const struct sequence false_ends[] = {
	S("\n.\n"), S("\n.\r\n"), S("\r\n.\n"), S("\r.\r"), S("\r.\n"), S("\n.\r"),
	S("\r.\r\n"), S("\r\n.\r"), S("\r\n.\r\r\n"), S("\r\r\n.\r\r\n"), S("\n\r.\n\r"),
	S("\r\n. \r\n"), S("\r\n.\t\r\n"), S("\r\n .\r\n"), S("\r\n\0.\r\n"),
	S("\r\n.\0\r\n"), S("\r\0\n.\r\n"), S("\r\n.\r\0\n"), S("\r\n.\v\r\n"), S("\f.\f"),
	S("\xc2\x85.\xc2\x85"), S("\xe2\x80\xa8.\xe2\x80\xa8"), S("\r\n..\r\n"),
};
static const struct sequence strays[] = { S("a\nb"), S("a\rb") };
static const struct sequence true_ends[] = { S("\r\r\n.\r\n"), S("\0\r\n.\r\n") };

#define HEAD "Subject: x\r\n\r\nbody"
#define REST "MAIL FROM:<evil@example.com>\r\nRCPT TO:<you@example.com>\r\n"
#define END "\r\n.\r\n"

static size_t
build(char *to, const struct sequence *s, const char *rest)
{
	size_t n = sizeof HEAD - 1;

	memcpy(to, HEAD, n);
	memcpy(to + n, s->p, s->n);
	n += s->n;
	memcpy(to + n, rest, strlen(rest));
	return n + strlen(rest);
}

static void
test_no_false_end_of_data_ends_a_message(void **state)
{
	struct result r;
	char in[512];

	for (size_t i = 0; i < sizeof false_ends / sizeof false_ends[0]; i++)
		for (int normalize = 0; normalize < 2; normalize++) {
			size_t n = build(in, &false_ends[i], REST END "QUIT\r\n");

			scan_all_ways(&r, in, n, normalize != 0);
			assert_true(r.end);
			assert_int_equal(r.used, n - 6);
		}
}

static void
test_strays_are_noted_and_do_not_end(void **state)
{
	struct result r;
	char in[512];
	size_t n;

	for (size_t i = 0; i < 2; i++) {
		n = build(in, &strays[i], END);
		scan_all_ways(&r, in, n, false);
		assert_true(r.end && r.used == n);
		assert_int_equal(r.scan.bare_lf, i == 0);
		assert_int_equal(r.scan.bare_cr, i == 1);
	}
}

static void
test_true_ends_do_end(void **state)
{
	struct result r;
	char in[512];

	for (size_t i = 0; i < 2; i++) {
		scan_all_ways(&r, in, build(in, &true_ends[i], REST), false);
		assert_true(r.end);
		assert_int_equal(r.used, sizeof HEAD - 1 + true_ends[i].n);
		assert_true(i == 0 ? r.scan.bare_cr : r.scan.nul);
	}
}

/* What normalize gives out has no CR or LF alone. */
static void
test_normalized_output_is_clean(void **state)
{
	struct result r;
	char in[512];

	for (size_t i = 0; i < sizeof false_ends / sizeof false_ends[0]; i++) {
		scan_all_ways(&r, in, build(in, &false_ends[i], END), true);
		assert_true(r.end);
		for (size_t k = 0; k < r.n; k++) {
			if (r.out[k] == '\n')
				assert_true(k > 0 && r.out[k - 1] == '\r');
			if (r.out[k] == '\r')
				assert_true(k + 1 < r.n && r.out[k + 1] == '\n');
		}
	}
}

static void
check_text(const char *in, const char *out, bool normalize)
{
	struct result r;

	scan_all_ways(&r, in, strlen(in), normalize);
	assert_true(r.end);
	assert_int_equal(r.used, strlen(in));
	assert_int_equal(r.n, strlen(out));
	assert_memory_equal(r.out, out, r.n);
}

static void
test_one_dot_is_taken_from_a_line(void **state)
{
	check_text(".\r\n", "", false);
	check_text("\r\n.\r\n", "\r\n", false);
	check_text("..\r\n.\r\n", ".\r\n", false);
	check_text("a: b\r\n\r\n...\r\n.x\r\nx.\r\n..a\r\n.\r\n",
	    "a: b\r\n\r\n..\r\nx\r\nx.\r\n.a\r\n", false);
}

static void
test_old_applications_lines_become_crlf(void **state)
{
	check_text("a: b\n\nc\n..d\r\n.\r\n", "a: b\r\n\r\nc\r\n.d\r\n", true);
	check_text("a\n.\nb\r\n.\r\n", "a\r\n.\r\nb\r\n", true);
	check_text("a\rb\r\n.\r\n", "a\r\nb\r\n", true);
}

static void
test_what_is_in_a_message_is_found(void **state)
{
	static const char in[] =
	    "Received: one\r\nreceived: two\r\nReceivedX: no\r\nX-Received: no\r\n"
	    "RECEIVED:three\r\nSubject: gr\xc3\xbc\xc3\x9f\r\n\r\nReceived: in the body\r\n.\r\n";
	struct result r;

	scan_all_ways(&r, in, sizeof in - 1, false);
	assert_true(r.end && r.scan.eightbit && !r.scan.nul && !r.scan.long_line);
	assert_int_equal(r.scan.received, 3);
	assert_int_equal(r.scan.header_size,
	    sizeof in - 1 - strlen("Received: in the body\r\n.\r\n"));
}

static void
test_long_lines_are_found_exactly(void **state)
{
	char in[1100];
	struct result r;

	for (size_t n = 997; n < 1001; n++) {
		memset(in, 'x', n);
		memcpy(in + n, "\r\n.\r\n", 5);
		scan(&r, in, n + 5, n + 5, true, false);
		assert_true(r.end);
		assert_int_equal(r.scan.long_line, n > 998);
		scan(&r, in, n + 5, 7, false, false);
		assert_int_equal(r.scan.long_line, n > 998);
	}
}

static void
test_a_message_without_empty_line_is_all_header(void **state)
{
	struct result r;

	scan_all_ways(&r, "a: b\r\nc: d\r\n.\r\n", 15, false);
	assert_true(r.end);
	assert_int_equal(r.scan.header_size, 12);
	scan_all_ways(&r, ".\r\n", 3, false);
	assert_int_equal(r.scan.header_size, 0);
}

/* NUL and 8-bit at every place of a line, so that no word of eight is left out;
 * what lies behind the end is not looked at. */
static void
test_odd_octets_are_seen_anywhere(void **state)
{
	char in[64];
	struct result r;

	for (size_t at = 0; at < 40; at++) {
		memset(in, 'x', 40);
		in[at] = '\0';
		memcpy(in + 40, "\r\n.\r\n\0\xff", 7);
		scan(&r, in, 47, 47, true, false);
		assert_true(r.scan.nul && !r.scan.eightbit && r.end);
		in[at] = (char)0x80;
		scan(&r, in, 47, 47, true, false);
		assert_true(!r.scan.nul && r.scan.eightbit && r.end);
		in[at] = 'x';
		scan(&r, in, 47, 47, true, false);
		assert_true(!r.scan.nul && !r.scan.eightbit && r.end);
	}
}

/* --- counted text --- */

/* The same text as DATA brings it and as BDAT does: all that is found is the same. */
static void
test_counted_text_is_judged_like_dotted_text(void **state)
{
	static const struct sequence texts[] = {
		S("a: b\r\n\r\nx\r\n"), S("Received: 1\r\n\r\nReceived: 2\r\n"), S("a: b\r\n\r\nx\ny\r\n"),
		S("a\rb\r\n"), S("a\0b\r\n\r\n\xff\r\n"), S("\r\n"), S("\n\r\n"), S("\r\r\n"), S(""),
	};
	struct result dotted, counted;
	char in[512];

	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		for (int normalize = 0; normalize < 2; normalize++) {
			memcpy(in, texts[i].p, texts[i].n);
			memcpy(in + texts[i].n, ".\r\n", 3);
			scan_all_ways(&dotted, in, texts[i].n + 3, normalize);
			assert_true(dotted.end);
			how = SCAN_COUNTED;
			scan_all_ways(&counted, texts[i].p, texts[i].n, normalize);
			how = SCAN_DOTTED;
			assert_false(counted.end);
			counted.end = true;
			counted.used = dotted.used;
			assert_same(&dotted, &counted);
		}
}

static void
test_dots_are_octets_of_counted_text(void **state)
{
	static const char text[] = ".\r\n..\r\n\r\n.\r\nx\r\n.\r\n";
	struct result r;

	how = SCAN_COUNTED;
	scan_all_ways(&r, text, sizeof text - 1, false);
	how = SCAN_DOTTED;
	assert_true(!r.end && !r.scan.bare_cr && !r.scan.bare_lf);
	assert_int_equal(r.n, sizeof text - 1);
	assert_memory_equal(r.out, text, r.n);
}

static void
test_a_cr_at_the_end_of_counted_text_is_alone(void **state)
{
	struct result r;

	how = SCAN_COUNTED;
	scan_all_ways(&r, "a: b\r\n\r\nx\r", 10, false);
	assert_true(r.scan.bare_cr);
	scan_all_ways(&r, "a: b\r\n\r\nx\r", 10, true);
	how = SCAN_DOTTED;
	assert_int_equal(r.n, 11);
	assert_memory_equal(r.out + 8, "x\r\n", 3);
}

/* Only its header is looked at; its 8-bit octets are noted wherever they are. */
static void
test_the_body_of_binary_mail_is_not_judged(void **state)
{
	static const char text[] = "a: b\r\n\r\n\n\r\0\r\n.\r\nReceived: x\r\n\xff\r";
	struct result r;

	how = SCAN_BINARY;
	scan_all_ways(&r, text, sizeof text - 1, true);
	assert_true(!r.scan.nul && !r.scan.bare_cr && !r.scan.bare_lf && r.scan.eightbit);
	assert_int_equal(r.scan.header_size, 8);
	assert_int_equal(r.scan.received, 0);
	assert_int_equal(r.n, sizeof text - 1);
	assert_memory_equal(r.out, text, r.n);
	scan_all_ways(&r, "a: b\n\r\n\r\n", 9, false);
	assert_true(r.scan.bare_lf);
	scan_all_ways(&r, "a: \0\r\n\r\n", 8, false);
	assert_true(r.scan.nul);
	how = SCAN_DOTTED;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_false_end_of_data_ends_a_message),
		cmocka_unit_test(test_strays_are_noted_and_do_not_end),
		cmocka_unit_test(test_true_ends_do_end),
		cmocka_unit_test(test_normalized_output_is_clean),
		cmocka_unit_test(test_one_dot_is_taken_from_a_line),
		cmocka_unit_test(test_old_applications_lines_become_crlf),
		cmocka_unit_test(test_what_is_in_a_message_is_found),
		cmocka_unit_test(test_long_lines_are_found_exactly),
		cmocka_unit_test(test_a_message_without_empty_line_is_all_header),
		cmocka_unit_test(test_odd_octets_are_seen_anywhere),
		cmocka_unit_test(test_counted_text_is_judged_like_dotted_text),
		cmocka_unit_test(test_dots_are_octets_of_counted_text),
		cmocka_unit_test(test_a_cr_at_the_end_of_counted_text_is_alone),
		cmocka_unit_test(test_the_body_of_binary_mail_is_not_judged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
