/*
 * test_message.c - attributes, bodies and messages.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <greenarrow/message.h>

static void assert_str(struct ga_str s, const char *want)
{
	assert_int_equal(s.n, strlen(want));
	assert_memory_equal(s.p, want, s.n);
}

static struct ga_str of(const struct ga_attrs *a)
{
	return (struct ga_str){ a->p, a->n };
}

static void test_attributes_come_back(void **state)
{
	struct ga_attrs a = { NULL, 0, 0 };
	struct ga_str v;
	size_t pos = 0;
	unsigned key, n = 0;

	ga_attrs_put(&a, GA_ATTR_SENDER, GA_STR("a@b"));
	ga_attrs_put(&a, GA_ATTR_NOTE, (struct ga_str){ "k\0v", 3 });
	ga_attrs_put(&a, GA_ATTR_NOTE, GA_STR(""));
	ga_attrs_put_u32(&a, GA_ATTR_FLAGS, 0xfedcba98);
	ga_attrs_put_u64(&a, GA_ATTR_BOUNCE_OF, 0xfedcba9876543210);
	assert_true(ga_attrs_valid(of(&a)));
	assert_true(ga_attr_get(of(&a), GA_ATTR_SENDER, &v));
	assert_str(v, "a@b");
	assert_true(ga_attr_get(of(&a), GA_ATTR_NOTE, &v));
	assert_int_equal(v.n, 3);
	assert_false(ga_attr_get(of(&a), GA_ATTR_RECIPIENT, &v));
	assert_int_equal(v.n, 0);
	assert_int_equal(ga_attr_u32(of(&a), GA_ATTR_FLAGS, 7), 0xfedcba98);
	assert_int_equal(ga_attr_u32(of(&a), GA_ATTR_SENDER, 7), 7);
	assert_int_equal(ga_attr_u32(of(&a), GA_ATTR_NOTIFY, 7), 7);
	assert_true(ga_attr_u64(of(&a), GA_ATTR_BOUNCE_OF, 7) == 0xfedcba9876543210);
	while (ga_attr_next(of(&a), &pos, &key, &v))
		n++;
	assert_int_equal(n, 5);
	ga_attrs_free(&a);
	assert_null(a.p);
}

static void test_layout_is_little_endian(void **state)
{
	struct ga_attrs a = { NULL, 0, 0 };

	ga_attrs_put_u32(&a, 0x0102, 0x03040506);
	assert_int_equal(a.n, 10);
	assert_memory_equal(a.p, "\x02\x01\x04\0\0\0\x06\x05\x04\x03", 10);
	ga_attrs_free(&a);
}

static void test_list_cut_anywhere_is_seen(void **state)
{
	struct ga_attrs a = { NULL, 0, 0 };
	struct ga_str v;

	ga_attrs_put(&a, 1, GA_STR("abc"));
	ga_attrs_put(&a, 2, GA_STR("defg"));
	for (size_t n = 0; n < a.n; n++) {
		char *cut = malloc(n > 0 ? n : 1);

		memcpy(cut, a.p, n);
		assert_int_equal(ga_attrs_valid((struct ga_str){ cut, n }), n == 0 || n == 9);
		assert_int_equal(ga_attr_get((struct ga_str){ cut, n }, 1, &v), n >= 9);
		assert_false(ga_attr_get((struct ga_str){ cut, n }, 2, &v));
		free(cut);
	}
	memset(a.p + 2, 0xff, 4);
	assert_false(ga_attrs_valid(of(&a)));
	assert_false(ga_attr_get(of(&a), 1, &v));
	ga_attrs_free(&a);
}

static void test_small_body_is_one_chunk(void **state)
{
	struct ga_body *b = ga_body_new();
	char text[5000];

	memset(text, 'x', sizeof(text));
	ga_body_append(b, text, sizeof(text));
	assert_int_equal(b->nchunks, 1);
	assert_int_equal(b->size, sizeof(text));
	ga_body_prepend(b, text, 300);
	assert_int_equal(b->nchunks, 1);
	ga_body_unref(b);
	b = ga_body_new();
	for (int i = 0; i < 10; i++)
		ga_body_append(b, text, sizeof(text));
	assert_true(b->nchunks <= 3);
	ga_body_unref(b);
}

static char pattern(size_t i)
{
	return (char)(i * 7 + i / 251);
}

static void assert_pattern(const struct ga_body *b, size_t n)
{
	struct ga_pool *pool = ga_pool_new(0);
	struct ga_str s = ga_body_flat(b, pool);

	assert_int_equal(s.n, n);
	assert_int_equal(b->size, n);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(s.p[i], pattern(i));
	ga_pool_free(pool);
}

static void test_octets_stay_in_order(void **state)
{
	enum { N = 300000, FRONT = 3000 };
	struct ga_body *b = ga_body_new();
	char *text = malloc(N);
	size_t at = FRONT;

	for (size_t i = 0; i < N; i++)
		text[i] = pattern(i);
	for (size_t step = 1; at < N; step = step * 3 % 20011) {
		size_t n = step < N - at ? step : N - at, room;

		if (step % 2 == 0) {
			ga_body_append(b, text + at, n);
		} else {
			char *to = ga_body_room(b, n, &room);

			assert_true(room >= n);
			memcpy(to, text + at, n);
			ga_body_used(b, n);
		}
		at += n;
	}
	ga_body_prepend(b, text + 1000, FRONT - 1000);
	ga_body_prepend(b, text + 1, 999);
	ga_body_prepend(b, text, 1);
	ga_body_prepend(b, text, 0);
	assert_pattern(b, N);
	ga_body_unref(b);
	free(text);
}

static void test_prepend_to_an_empty_body(void **state)
{
	struct ga_body *b = ga_body_new();
	char text[10000];

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = pattern(i);
	ga_body_prepend(b, text, sizeof(text));
	assert_pattern(b, sizeof(text));
	ga_body_unref(b);
}

static void test_room_not_used_is_given_again(void **state)
{
	struct ga_body *b = ga_body_new();
	size_t room;
	char *p = ga_body_room(b, 100, &room);

	ga_body_used(b, 0);
	assert_ptr_equal(ga_body_room(b, 100, &room), p);
	ga_body_room(b, 1000000, &room);
	assert_true(room >= 1000000);
	assert_int_equal(b->size, 0);
	ga_body_unref(b);
}

static void test_memory_is_counted_and_given_back(void **state)
{
	uint64_t before = ga_body_memory();
	struct ga_body *b = ga_body_new();
	char text[100000] = { 0 };

	ga_body_append(b, text, sizeof(text));
	ga_body_prepend(b, text, sizeof(text));
	assert_true(ga_body_memory() - before >= 200000);
	ga_body_memory_limit(before + 100);
	assert_true(ga_body_memory_full());
	ga_body_memory_limit(0);
	assert_false(ga_body_memory_full());
	ga_body_ref(b);
	ga_body_unref(b);
	assert_true(ga_body_memory() > before);
	ga_body_unref(b);
	assert_true(ga_body_memory() == before);
	b = ga_body_new_spooled(1234567);
	assert_null(b->chunks);
	assert_true(b->size == 1234567);
	assert_true(ga_body_memory() == before);
	ga_body_unref(b);
	ga_body_unref(NULL);
	assert_true(ga_body_memory() == before);
}

static void *ref_and_unref(void *arg)
{
	for (int i = 0; i < 100000; i++) {
		ga_message_ref(arg);
		ga_message_unref(arg);
	}
	ga_message_unref(arg);
	return NULL;
}

static const char *const recipients[5] = { "a@Example.COM", "\"x@y\"@b\xc3\xbc" "cher.example", "not an address",
	"postmaster", "z@[192.0.2.1]" };

static struct ga_message *message(size_t n, struct ga_body *body)
{
	struct ga_attrs a = { NULL, 0, 0 }, *e = calloc(n, sizeof(*e));
	struct ga_str *lists = calloc(n, sizeof(*lists));
	struct ga_message *m;

	ga_attrs_put(&a, GA_ATTR_SENDER, GA_STR("from@example.org"));
	ga_attrs_put(&a, GA_ATTR_VIRTUAL_MTA, GA_STR("ip-1"));
	ga_attrs_put_u32(&a, GA_ATTR_FLAGS, GA_MSG_8BIT);
	for (size_t i = 0; i < n; i++) {
		ga_attrs_put(&e[i], GA_ATTR_RECIPIENT, ga_str_c(recipients[i % 5]));
		lists[i] = of(&e[i]);
	}
	m = ga_message_new(0x12345678, 99, of(&a), lists, NULL, n, body);
	for (size_t i = 0; i < n; i++)
		ga_attrs_free(&e[i]);
	ga_attrs_free(&a);
	free(e);
	free(lists);
	return m;
}

static void test_message_keeps_copies(void **state)
{
	struct ga_body *b = ga_body_new();
	struct ga_message *m;

	ga_body_append(b, "hello\r\n", 7);
	m = message(5, b);
	assert_int_equal(m->refs, 1);
	assert_int_equal(m->body_size, 7);
	assert_int_equal(m->flags, GA_MSG_8BIT);
	assert_str(m->sender, "from@example.org");
	assert_str(m->virtual_mta, "ip-1");
	assert_int_equal(m->nenvelopes, 5);
	assert_str(m->envelopes[0].recipient, "a@Example.COM");
	assert_str(m->envelopes[0].domain, "example.com");
	assert_str(m->envelopes[1].domain, "xn--bcher-kva.example");
	assert_str(m->envelopes[2].domain, "");
	assert_str(m->envelopes[2].recipient, "not an address");
	assert_str(m->envelopes[3].domain, "");
	assert_str(m->envelopes[4].domain, "[192.0.2.1]");
	assert_int_equal(m->envelopes[4].index, 4);
	assert_true(GA_ENVELOPE_ID(m, &m->envelopes[4]) >> 32 == 0x12345678);
	ga_message_unref(m);
}

static void test_given_random_halves_are_kept(void **state)
{
	const uint32_t randoms[2] = { 7, 9 };
	const struct ga_str lists[2] = { { "", 0 }, { "", 0 } };
	struct ga_message *m = ga_message_new(1, 2, (struct ga_str){ "", 0 }, lists, randoms, 2, NULL);

	assert_int_equal(m->envelopes[0].random, 7);
	assert_int_equal(m->envelopes[1].random, 9);
	assert_int_equal(m->envelopes[1].recipient.n, 0);
	assert_null(m->body);
	ga_message_unref(m);
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void test_drawn_random_halves_are_unique(void **state)
{
	enum { N = 50000 };
	struct ga_message *m = message(N, NULL);
	uint32_t *seen = calloc(N, sizeof(*seen));

	for (size_t i = 0; i < N; i++)
		seen[i] = m->envelopes[i].random;
	qsort(seen, N, sizeof(*seen), compare);
	for (size_t i = 1; i < N; i++)
		assert_true(seen[i] != seen[i - 1]);
	assert_true(seen[N - 1] - seen[0] > UINT32_MAX / 2);
	free(seen);
	ga_message_unref(m);
}

static void test_references_from_many_threads(void **state)
{
	uint64_t before = ga_body_memory();
	struct ga_message *m = message(1, ga_body_new());
	pthread_t t[4];

	for (int i = 0; i < 4; i++)
		ga_message_ref(m);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, ref_and_unref, m), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(m->refs, 1);
	ga_message_unref(m);
	assert_true(ga_body_memory() == before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_attributes_come_back),
		cmocka_unit_test(test_layout_is_little_endian),
		cmocka_unit_test(test_list_cut_anywhere_is_seen),
		cmocka_unit_test(test_small_body_is_one_chunk),
		cmocka_unit_test(test_octets_stay_in_order),
		cmocka_unit_test(test_prepend_to_an_empty_body),
		cmocka_unit_test(test_room_not_used_is_given_again),
		cmocka_unit_test(test_memory_is_counted_and_given_back),
		cmocka_unit_test(test_message_keeps_copies),
		cmocka_unit_test(test_given_random_halves_are_kept),
		cmocka_unit_test(test_drawn_random_halves_are_unique),
		cmocka_unit_test(test_references_from_many_threads),
	};

	return cmocka_run_group_tests_name("messages", tests, NULL, NULL);
}
