/*
 * test_params.c - parameters that depend on the session, see world.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dialogue.h"

#define REQUIRES "MAIL FROM:<a@example.org> REQUIRETLS\r\n"

static struct world *
with_tls(void)
{
	struct world *w = world_new("");

	w->gen->tls = (struct ga_tls_server *)(void *)w;
	world_connect(w);
	expect(w, HELLO, "220");
	return w;
}

static void
end(struct world *w)
{
	w->gen->tls = NULL;
	world_free(w);
}

static void
test_requiretls_is_taken_inside_tls_alone(void **state)
{
	struct world *w = with_tls();

	expect(w, REQUIRES, "530 5.7.0");
	expect(w, "DATA\r\n", "503 5.5.1 MAIL first");
	expect(w, "STARTTLS\r\n", "220");
	expect(w, HELLO, "250-test\r\n250-REQUIRETLS\r\n");
	expect(w, REQUIRES "RCPT TO:<b@example.net>\r\n" CHUNK, "250 2.1.0 Sender OK\r\n250 2.1.5 Recipient OK\r\n250 2.0.0");
	assert_int_equal(last_message(w)->flags, GA_MSG_REQUIRETLS);
	expect(w, ENVELOPE CHUNK, "250");
	assert_int_equal(last_message(w)->flags, 0);
	end(w);
}

static void
test_requiretls_is_not_offered_outside_tls(void **state)
{
	struct world *w = with_tls();

	world_say(w, HELLO);
	assert_null(strstr(world_heard(w), "REQUIRETLS"));
	end(w);
}

static void
test_requiretls_has_no_value_and_comes_once(void **state)
{
	struct world *w = with_tls();

	expect(w, "STARTTLS\r\n", "220");
	expect(w, HELLO "MAIL FROM:<a@example.org> REQUIRETLS=yes\r\n", "250-");
	expect(w, "MAIL FROM:<a@example.org> REQUIRETLS requiretls\r\n", "501 5.5.4");
	expect(w, "MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net> REQUIRETLS\r\n", "250 2.1.0 Sender OK\r\n555 5.5.4");
	expect(w, "HELO c.example\r\n" REQUIRES, "250 test\r\n555 5.5.4");
	end(w);
}

/* A refused MAIL leaves no transaction, whatever its parameters had done by then. */
static void
test_a_mail_that_is_refused_leaves_nothing(void **state)
{
	static const char *const refused[] = {
		"MAIL FROM:<a@example.org> RET=FULL ENVID=x SMTPUTF8 FOO\r\n",
		"MAIL FROM:<a@example.org> ENVID=x ENVID=y\r\n",
		"MAIL FROM:<a@example.org> BODY=BINARYMIME SIZE=99999999999999\r\n",
		"MAIL FROM:<a@example.org> SMTPUTF8 BODY=9BIT\r\n",
		"MAIL FROM:<a@example.org> SMTPUTF8 =\r\n",
		"MAIL FROM:<a@\r\n", "MAIL FROM:<a>\r\n", "MAIL TO:<a@example.org>\r\n",
	};
	struct world *w = greeted("max_errors 1000");
	struct ga_str v;

	for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
		expect(w, refused[i], "5");
		expect(w, "RCPT TO:<b@example.net>\r\n", "503 5.5.1");
		expect(w, CHUNK, "503 5.5.1");
		expect(w, "DATA\r\n", "503 5.5.1");
		expect(w, ENVELOPE CHUNK, "250 2.1.0 Sender OK\r\n250 2.1.5 Recipient OK\r\n250 2.0.0");
		assert_int_equal(last_message(w)->flags, 0);
		assert_false(ga_attr_get(last_message(w)->attrs, GA_ATTR_ENVID, &v));
		assert_false(ga_attr_get(last_message(w)->attrs, GA_ATTR_RET, &v));
	}
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requiretls_is_taken_inside_tls_alone),
		cmocka_unit_test(test_requiretls_is_not_offered_outside_tls),
		cmocka_unit_test(test_requiretls_has_no_value_and_comes_once),
		cmocka_unit_test(test_a_mail_that_is_refused_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
