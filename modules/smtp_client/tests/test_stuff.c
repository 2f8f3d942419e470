/*
 * test_stuff.c - what leaves is the message, dot-stuffed, whole and ended once,
 * however it is cut into chunks and however few iovecs there are.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../stuff.h"

/* The simplest way to say it: octet by octet, for messages without bare CR or LF. */
static size_t
plainly(const char *p, size_t n, char *out)
{
	size_t k = 0;

	for (size_t i = 0; i < n; i++) {
		if (p[i] == '.' && (i == 0 || p[i - 1] == '\n'))
			out[k++] = '.';
		out[k++] = p[i];
	}
	if (n > 0 && p[n - 1] != '\n') {
		memcpy(out + k, "\r\n", 2);
		k += 2;
	}
	memcpy(out + k, ".\r\n", 3);
	return k + 3;
}

static size_t
gather(const struct iovec *v, int nv, char *out)
{
	size_t k = 0;

	for (int i = 0; i < nv; i++) {
		assert_true(v[i].iov_len > 0);
		memcpy(out + k, v[i].iov_base, v[i].iov_len);
		k += v[i].iov_len;
	}
	return k;
}

/* One chunk through iovecs of that room. */
static size_t
feed(struct smtpc_stuff *s, const char *p, size_t n, int room, char *out)
{
	struct iovec v[64];
	size_t at = 0, k = 0;

	while (at < n && !s->dirty) {
		int nv = 0;
		size_t used = smtpc_stuff(s, p + at, n - at, v, room, &nv);

		assert_true(nv <= room);
		assert_true(used > 0 || s->dirty);
		k += gather(v, nv, out + k);
		at += used;
	}
	return k;
}

static const char *const messages[] = {
	"", ".", "..", "a", "\r\n", ".\r\n", "..\r\n", "\r\n.\r\n", "a\r\n.\r\nb", "a\r\n..b\r\n.c",
	"Subject: x\r\n\r\n.\r\n..\r\n...\r\na.b\r\n.", ".\r\n.\r\n.\r\n.\r\n.\r\n", "a.\r\n.", "\r\n\r\n.",
	"no end of line", "one.two\r\n three\r\n",
};

static void
test_every_split_gives_the_same_octets(void **state)
{
	for (size_t m = 0; m < sizeof messages / sizeof messages[0]; m++) {
		size_t n = strlen(messages[m]);

		for (size_t i = 0; i <= n; i++)
			for (size_t j = i; j <= n; j++)
				for (int room = SMTPC_STUFF_ROOM; room < 7; room++) {
					struct smtpc_stuff s = { 0 };
					char out[256], want[256];
					struct iovec v[4];
					int nv = 0;
					size_t k = feed(&s, messages[m], i, room, out);

					k += feed(&s, messages[m] + i, j - i, room, out + k);
					k += feed(&s, messages[m] + j, n - j, room, out + k);
					assert_true(smtpc_stuff_end(&s, v, &nv));
					k += gather(v, nv, out + k);
					assert_int_equal(k, plainly(messages[m], n, want));
					assert_memory_equal(out, want, k);
				}
	}
}

static void
test_for_bdat_nothing_is_put_in(void **state)
{
	for (size_t m = 0; m < sizeof messages / sizeof messages[0]; m++) {
		size_t n = strlen(messages[m]);

		for (size_t i = 0; i <= n; i++) {
			struct smtpc_stuff s = { .raw = true };
			char out[256];
			size_t k = feed(&s, messages[m], i, SMTPC_STUFF_ROOM, out);

			k += feed(&s, messages[m] + i, n - i, SMTPC_STUFF_ROOM, out + k);
			assert_int_equal(k, n);
			assert_memory_equal(out, messages[m], n);
		}
	}
}

static void
test_only_binary_mail_may_hold_anything(void **state)
{
	static const char any[] = "a\nb\r.\0\r\n.\r\n\r";
	struct smtpc_stuff text = { .raw = true }, binary = { .raw = true, .binary = true };
	char out[64];

	feed(&text, any, sizeof any - 1, 4, out);
	assert_true(text.dirty);
	assert_int_equal(feed(&binary, any, sizeof any - 1, 4, out), sizeof any - 1);
	assert_memory_equal(out, any, sizeof any - 1);
	assert_false(binary.dirty);
}

static void
test_a_message_without_dots_is_one_iovec(void **state)
{
	static const char text[] = "Subject: x\r\n\r\nHello.\r\nBye.\r\n";
	struct smtpc_stuff s = { 0 };
	struct iovec v[4];
	int nv = 0;

	assert_int_equal(smtpc_stuff(&s, text, sizeof text - 1, v, 4, &nv), sizeof text - 1);
	assert_int_equal(nv, 1);
	assert_ptr_equal(v[0].iov_base, text);
}

static bool
is_dirty(const char *p, size_t n, size_t cut)
{
	struct smtpc_stuff s = { 0 };
	struct iovec v[4];
	char out[64];
	int nv = 0;

	feed(&s, p, cut, 4, out);
	if (!s.dirty)
		feed(&s, p + cut, n - cut, 4, out);
	return s.dirty || !smtpc_stuff_end(&s, v, &nv);
}

static void
test_bare_cr_lf_and_nul_never_pass(void **state)
{
	static const struct { const char *p; size_t n; } bad[] = {
		{ "a\nb\r\n", 5 }, { "a\rb\r\n", 5 }, { "a\r\r\nb", 6 }, { "\n", 1 }, { "\r", 1 },
		{ "a\r\n.\nb", 6 }, { "a\n.\r\n", 5 }, { "a\r\n\n", 4 }, { "a\0b\r\n", 5 },
		{ "\r\n\0.\r\n", 6 }, { "a\r\0\n", 4 }, { "end\r", 4 }, { "\r\n.\r", 4 },
	};

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		for (size_t cut = 0; cut <= bad[i].n; cut++)
			assert_true(is_dirty(bad[i].p, bad[i].n, cut));
}

/* 20,000 messages of the octets that matter, in random pieces. */
static void
test_random_messages_come_out_as_they_should(void **state)
{
	static const char *const words[] = { "\r\n", ".", "a", "..", "\r\n.\r\n", "bc" };

	srandom(7);
	for (int round = 0; round < 20000; round++) {
		char text[128], want[256], out[256];
		struct smtpc_stuff s = { 0 };
		struct iovec v[4];
		size_t n = 0, k = 0;
		int nv = 0;

		while (n < 100 && random() % 24 != 0) {
			const char *w = words[random() % 6];

			memcpy(text + n, w, strlen(w));
			n += strlen(w);
		}
		for (size_t at = 0; at < n;) {
			size_t piece = 1 + (size_t)random() % (n - at);

			k += feed(&s, text + at, piece, 3 + (int)(random() % 5), out + k);
			at += piece;
		}
		assert_true(smtpc_stuff_end(&s, v, &nv));
		k += gather(v, nv, out + k);
		assert_int_equal(k, plainly(text, n, want));
		assert_memory_equal(out, want, k);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_split_gives_the_same_octets),
		cmocka_unit_test(test_for_bdat_nothing_is_put_in),
		cmocka_unit_test(test_only_binary_mail_may_hold_anything),
		cmocka_unit_test(test_a_message_without_dots_is_one_iovec),
		cmocka_unit_test(test_bare_cr_lf_and_nul_never_pass),
		cmocka_unit_test(test_random_messages_come_out_as_they_should),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
