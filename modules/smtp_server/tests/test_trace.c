/*
 * test_trace.c - our Received field, octet for octet.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../trace.h"

static struct smtpd_trace
example(void)
{
	return (struct smtpd_trace){
		.helo = GA_STR("client.example.org"),
		.client = GA_STR("192.0.2.1"),
		.hostname = GA_STR("mail.example.com"),
		.with = GA_STR("ESMTPS"),
		.id = 0xab12,
		.only_rcpt = GA_STR("you@example.net"),
		.date = GA_STR("Wed, 25 Nov 2026 17:49:39 +0000"),
	};
}

static void
assert_field(const struct smtpd_trace *t, const char *want)
{
	struct ga_pool *pool = ga_pool_new(0);
	struct ga_str field = smtpd_trace_field(pool, t);

	assert_int_equal(field.n, strlen(want));
	assert_memory_equal(field.p, want, field.n);
	ga_pool_free(pool);
}

static void
test_one_recipient_is_named(void **state)
{
	struct smtpd_trace t = example();

	assert_field(&t, "Received: from client.example.org ([192.0.2.1])\r\n"
	    "\tby mail.example.com with ESMTPS id 0000ab12\r\n"
	    "\tfor <you@example.net>;\r\n"
	    "\tWed, 25 Nov 2026 17:49:39 +0000\r\n");
}

static void
test_a_client_that_is_hidden_is_not_named(void **state)
{
	struct smtpd_trace t = example();

	t.hides = true;
	assert_field(&t, "Received: by mail.example.com with ESMTPS id 0000ab12\r\n"
	    "\tfor <you@example.net>;\r\n"
	    "\tWed, 25 Nov 2026 17:49:39 +0000\r\n");
}

static void
test_several_recipients_are_not(void **state)
{
	struct smtpd_trace t = example();

	t.only_rcpt = (struct ga_str){ NULL, 0 };
	assert_field(&t, "Received: from client.example.org ([192.0.2.1])\r\n"
	    "\tby mail.example.com with ESMTPS id 0000ab12;\r\n"
	    "\tWed, 25 Nov 2026 17:49:39 +0000\r\n");
}

static void
test_ipv6_is_tagged(void **state)
{
	struct smtpd_trace t = example();

	t.client = GA_STR("2001:db8::1");
	t.client_is_ipv6 = true;
	t.only_rcpt = (struct ga_str){ NULL, 0 };
	assert_field(&t, "Received: from client.example.org ([IPv6:2001:db8::1])\r\n"
	    "\tby mail.example.com with ESMTPS id 0000ab12;\r\n"
	    "\tWed, 25 Nov 2026 17:49:39 +0000\r\n");
}

/* The longest that every part may be still fits. */
static void
test_long_parts_fit(void **state)
{
	static char name[256], address[256];
	struct smtpd_trace t = example();
	struct ga_pool *pool = ga_pool_new(0);
	struct ga_str field;

	memset(name, 'n', sizeof name);
	memset(address, 'a', sizeof address);
	t.helo = t.hostname = (struct ga_str){ name, 255 };
	t.only_rcpt = (struct ga_str){ address, 254 };
	t.id = UINT32_MAX;
	field = smtpd_trace_field(pool, &t);
	assert_true(field.n > 3 * 250 && field.n < 1000);
	assert_memory_equal(field.p + field.n - 2, "\r\n", 2);
	ga_pool_free(pool);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_recipient_is_named),
		cmocka_unit_test(test_a_client_that_is_hidden_is_not_named),
		cmocka_unit_test(test_several_recipients_are_not),
		cmocka_unit_test(test_ipv6_is_tagged),
		cmocka_unit_test(test_long_parts_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
