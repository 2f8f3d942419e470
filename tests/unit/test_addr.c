/*
 * test_addr.c - socket addresses and CIDR blocks.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <greenarrow/net.h>

static void test_addresses_are_read_and_printed(void **state)
{
	static const struct { const char *in, *with_port, *alone; } c[] = {
		{ "192.0.2.1", "192.0.2.1:25", "192.0.2.1" }, { "192.0.2.1:587", "192.0.2.1:587", "192.0.2.1" },
		{ "2001:DB8::1", "[2001:db8::1]:25", "2001:db8::1" }, { "[2001:db8::1]", "[2001:db8::1]:25", "2001:db8::1" },
		{ "[::1]:65535", "[::1]:65535", "::1" }, { "0.0.0.0:0", "0.0.0.0:0", "0.0.0.0" },
	};
	char text[GA_SOCKADDR_TEXT];
	struct ga_sockaddr a;

	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		assert_true(ga_sockaddr_parse(&a, ga_str_c(c[i].in), 25));
		assert_string_equal(ga_sockaddr_text(&a, true, text), c[i].with_port);
		assert_string_equal(ga_sockaddr_text(&a, false, text), c[i].alone);
	}
	memset(&a, 0, sizeof(a));
	assert_string_equal(ga_sockaddr_text(&a, true, text), "-");
	assert_int_equal(ga_sockaddr_port(&a), 0);
}

static void test_what_is_no_address(void **state)
{
	static const char *const bad[] = { "", "x", "192.0.2", "192.0.2.256", "192.0.2.1:", "192.0.2.1:65536", "192.0.2.1:-1",
		"192.0.2.1:2x", "192.0.2.1:999999", ":25", "[::1", "::1]", "[::1]25", "[::1]:", "[]", "[192.0.2.1]", "[192.0.2.1]:25",
		"[::1]:25:26", " 192.0.2.1", "localhost:25", "1:2:3" };
	struct ga_sockaddr a;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (ga_sockaddr_parse(&a, ga_str_c(bad[i]), 25))
			fail_msg("taken: %s", bad[i]);
	assert_false(ga_sockaddr_parse(&a, (struct ga_str){ "192.0.2.1\0x", 11 }, 25));
	assert_false(ga_sockaddr_parse(&a, (struct ga_str){ NULL, 0 }, 25));
}

static bool same(const char *x, const char *y, bool with_port)
{
	struct ga_sockaddr a, b;

	assert_true(ga_sockaddr_parse(&a, ga_str_c(x), 25));
	assert_true(ga_sockaddr_parse(&b, ga_str_c(y), 25));
	return ga_sockaddr_equal(&a, &b, with_port);
}

static void test_equality(void **state)
{
	assert_true(same("192.0.2.1", "192.0.2.1:25", true));
	assert_false(same("192.0.2.1", "192.0.2.1:26", true));
	assert_true(same("192.0.2.1", "192.0.2.1:26", false));
	assert_false(same("192.0.2.1", "192.0.2.2", false));
	assert_true(same("::1", "[::1]:25", true));
	assert_false(same("::1", "::2", false));
	assert_false(same("0.0.0.0", "::", false));
}

static bool matches(const char *block, const char *address)
{
	struct ga_cidr c;
	struct ga_sockaddr a;

	assert_true(ga_cidr_parse(&c, ga_str_c(block)));
	assert_true(ga_sockaddr_parse(&a, ga_str_c(address), 25));
	return ga_cidr_match(&c, &a);
}

static void test_blocks(void **state)
{
	assert_true(matches("127.0.0.0/8", "127.255.255.255"));
	assert_false(matches("127.0.0.0/8", "128.0.0.0"));
	assert_true(matches("192.0.2.1", "192.0.2.1"));
	assert_false(matches("192.0.2.1", "192.0.2.0"));
	assert_true(matches("192.0.2.128/25", "192.0.2.129"));
	assert_false(matches("192.0.2.128/25", "192.0.2.127"));
	assert_true(matches("192.0.2.77/24", "192.0.2.1"));
	assert_true(matches("0.0.0.0/0", "203.0.113.9"));
	assert_false(matches("0.0.0.0/0", "2001:db8::1"));
	assert_true(matches("[::1]", "::1"));
	assert_true(matches("2001:db8::/32", "2001:db8:ffff::1"));
	assert_true(matches("[2001:db8::]/33", "2001:db8:7fff::1"));
	assert_false(matches("2001:db8::/33", "2001:db8:8000::1"));
	assert_true(matches("::/0", "2001:db8::1"));
	assert_true(matches("192.0.2.0/24", "::ffff:192.0.2.9"));
	assert_false(matches("::/0", "::ffff:192.0.2.9"));
	assert_true(matches("::ffff:192.0.2.0/120", "192.0.2.9"));
}

static void test_what_is_no_block(void **state)
{
	static const char *const bad[] = { "", "/8", "127.0.0.0/", "127.0.0.0/33", "::/129", "127.0.0.0/x", "127.0.0.0/8/9",
		"[::1", "[::1]8", "::ffff:192.0.2.0/90", "127.0.0.0/-1", "127.0.0.1:25" };
	struct ga_cidr c;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (ga_cidr_parse(&c, ga_str_c(bad[i])))
			fail_msg("taken: %s", bad[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses_are_read_and_printed),
		cmocka_unit_test(test_what_is_no_address),
		cmocka_unit_test(test_equality),
		cmocka_unit_test(test_blocks),
		cmocka_unit_test(test_what_is_no_block),
	};

	return cmocka_run_group_tests_name("socket addresses", tests, NULL, NULL);
}
