/*
 * test_environment.c - `export NAME=value` files, and what they make of a service.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../listeners.h"

static char faults[4096];

static void
note_fault(void *arg, unsigned line, unsigned column, bool error, const char *message)
{
	size_t n = strlen(faults);

	assert_true(error);
	snprintf(faults + n, sizeof faults - n, "%u:%u: %s\n", line, column, message);
}

static struct smtpd_environment
read_text(struct ga_pool *pool, const char *text)
{
	char path[] = "/tmp/ga-env-XXXXXX";
	int fd = mkstemp(path), error = 0;
	struct smtpd_environment e = { NULL };

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	faults[0] = '\0';
	assert_true(smtpd_environment_read(pool, path, &e, note_fault, NULL, &error));
	unlink(path);
	return e;
}

static void
test_lines_that_are_read(void **state)
{
	static const struct { const char *line, *value; } rows[] = {
		{ "export A=1", "1" }, { "A=1", "1" }, { "  export \t A=1  ", "1" }, { "A=1 # why", "1" }, { "A=1\r", "1" },
		{ "A=", "" }, { "A=''", "" }, { "A=\"\"", "" }, { "A='a b'", "a b" }, { "A=\"a b\"", "a b" },
		{ "A='$(id) `x` \\'", "$(id) `x` \\" }, { "A=\"\\$x \\\" \\\\ \\` \\n\"", "$x \" \\ ` \\n" },
		{ "A=a'b c'\"d\"e", "ab cde" }, { "A=a#b", "a#b" }, { "A=a=b", "a=b" }, { "A='a#b' #c", "a#b" },
		{ "A=1\nA=2", "2" }, { "export=1\nA=3", "3" },
	};
	struct ga_pool *pool = ga_pool_new(0);

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct smtpd_environment e = read_text(pool, rows[i].line);
		const struct smtpd_variable *v = smtpd_environment_get(&e, "A");

		assert_string_equal(faults, "");
		assert_non_null(v);
		if (!ga_str_eq(v->value, ga_str_c(rows[i].value)))
			fail_msg("%s: %.*s", rows[i].line, (int)v->value.n, v->value.p);
	}
	ga_pool_free(pool);
}

/* A shell goes on exporting what it has exported once. */
static void
test_which_variables_are_exported(void **state)
{
	static const struct { const char *text; bool exported; } rows[] = {
		{ "A=1", false }, { "export A=1", true }, { "A=1\nexport A=2", true }, { "export A=1\nA=2", true },
		{ "export B=1\nA=2", false },
	};
	struct ga_pool *pool = ga_pool_new(0);

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct smtpd_environment e = read_text(pool, rows[i].text);

		assert_int_equal(smtpd_environment_get(&e, "A")->exported, rows[i].exported);
	}
	ga_pool_free(pool);
}

static void
test_what_a_shell_would_do_is_refused_and_told(void **state)
{
	struct ga_pool *pool = ga_pool_new(0);
	struct smtpd_environment e = read_text(pool, "# ok\n\nGOOD=1\nrm -rf /\nA=$HOME\nA=`id`\nA=\"$(id)\"\nA=a;b\nA=a b\n"
	    "A='open\nexport A\n1A=x\nA=a\x01\n=x\nA=a|b\nA=*\nLAST=yes");

	assert_string_equal(faults,
	    "4:3: not NAME=value or export NAME=value\n"
	    "5:3: a shell would expand or run this; values are only read: put it in 'quotes'\n"
	    "6:3: a shell would expand or run this; values are only read: put it in 'quotes'\n"
	    "7:4: a shell would expand or run this; values are only read: put it in 'quotes'\n"
	    "8:4: a shell would expand or run this; values are only read: put it in 'quotes'\n"
	    "9:5: more than one word: put the value in 'quotes'\n"
	    "10:8: a quote without its end\n"
	    "11:9: not NAME=value or export NAME=value\n"
	    "12:1: not NAME=value or export NAME=value\n"
	    "13:4: a control character\n"
	    "14:1: not NAME=value or export NAME=value\n"
	    "15:4: a shell would expand or run this; values are only read: put it in 'quotes'\n"
	    "16:3: a shell would expand or run this; values are only read: put it in 'quotes'\n");
	assert_null(smtpd_environment_get(&e, "A"));
	assert_non_null(smtpd_environment_get(&e, "GOOD"));
	assert_non_null(smtpd_environment_get(&e, "LAST"));
	ga_pool_free(pool);
}

/* The plain addresses, blank separated; "-" in front of what has TLS. */
static const char *
overridden(const char *listen, const char *text, bool good)
{
	static char said[1000];
	struct ga_pool *pool = ga_pool_new(0);
	struct ga_str tls = GA_STR("127.0.0.1:465"), plain[2];
	struct smtpd_listeners l = { { plain, 0 }, { &tls, 1 }, 1000, true };
	struct smtpd_environment e = read_text(pool, text);
	size_t n = 0;

	for (const char *p = listen; *p != '\0'; p += strcspn(p, " ") + (p[strcspn(p, " ")] == ' '))
		plain[l.plain.n++] = (struct ga_str){ p, strcspn(p, " ") };
	assert_int_equal(smtpd_listeners_override(&l, pool, &e, note_fault, NULL), good);
	n += (size_t)snprintf(said, sizeof said, "%u", l.max_connections);
	for (size_t i = 0; i < l.plain.n; i++)
		n += (size_t)snprintf(said + n, sizeof said - n, " %.*s", (int)l.plain.v[i].n, l.plain.v[i].p);
	for (size_t i = 0; i < l.tls.n; i++)
		n += (size_t)snprintf(said + n, sizeof said - n, " -%.*s", (int)l.tls.v[i].n, l.tls.v[i].p);
	ga_pool_free(pool);
	return said;
}

static void
test_variables_override_where_a_service_listens(void **state)
{
	static const char two[] = "127.0.0.1:25 [::1]:26";

	assert_string_equal(overridden(two, "OTHER=x", true), "1000 127.0.0.1:25 [::1]:26 -127.0.0.1:465");
	assert_string_equal(overridden(two, "ENABLED=1\nCONCURRENCY=7", true), "7 127.0.0.1:25 [::1]:26 -127.0.0.1:465");
	assert_string_equal(overridden(two, "PORT=587", true), "1000 127.0.0.1:587 [::1]:587 -127.0.0.1:465");
	assert_string_equal(overridden(two, "IPADDR=192.0.2.1", true), "1000 192.0.2.1:25 -127.0.0.1:465");
	assert_string_equal(overridden(two, "IPADDR=192.0.2.1\nPORT=587", true), "1000 192.0.2.1:587 -127.0.0.1:465");
	assert_string_equal(overridden("", "IPADDR=192.0.2.1\nPORT=587", true), "1000 192.0.2.1:587 -127.0.0.1:465");
	assert_string_equal(overridden(two, "ENABLED=0", true), "1000");
	assert_string_equal(overridden(two, "ENABLED=", true), "1000");
	assert_string_equal(overridden(two, "PORT=0", true), "1000");
	assert_non_null(strstr(overridden(two, "IPADDR=0", true), "1000 0.0.0.0:25"));
	assert_non_null(strstr(overridden("", "PORT=587", true), "1000 0.0.0.0:587"));
}

static void
test_variables_that_make_no_sense_are_told_with_their_places(void **state)
{
	overridden("127.0.0.1:25", "ENABLED=maybe", false);
	assert_string_equal(faults, "1:9: ENABLED is 1 or 0\n");
	overridden("127.0.0.1:25", "\nexport PORT=smtp", false);
	assert_string_equal(faults, "2:13: PORT is a number from 0 to 65535\n");
	overridden("127.0.0.1:25", "PORT=65536", false);
	overridden("127.0.0.1:25", "CONCURRENCY=0", false);
	overridden("127.0.0.1:25", "IPADDR=localhost", false);
	overridden("127.0.0.1:25", "IPADDR=192.0.2.1:25", false);
	overridden("", "IPADDR=192.0.2.1", false);
	assert_string_equal(faults, "1:8: PORT is missing: the service has no listen to take it from\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines_that_are_read),
		cmocka_unit_test(test_which_variables_are_exported),
		cmocka_unit_test(test_what_a_shell_would_do_is_refused_and_told),
		cmocka_unit_test(test_variables_override_where_a_service_listens),
		cmocka_unit_test(test_variables_that_make_no_sense_are_told_with_their_places),
	};

	return cmocka_run_group_tests_name("environment", tests, NULL, NULL);
}
