/*
 * test_tcprules.c - the language of access rules: what it makes of lines, and how it refuses them.
 *
 * That it is the language of tcprules(1) is held against that program in tests/e2e/test_tcp_rules.py.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tcprules.h"

static char said[2000];

static bool
note(void *arg, struct ga_str key, struct ga_str data)
{
	size_t n = strlen(said);

	n += (size_t)snprintf(said + n, sizeof said - n, "%.*s>", (int)key.n, key.p);
	for (size_t i = 0; i < data.n; i++)
		said[n++] = data.p[i] != '\0' ? data.p[i] : '|';
	said[n++] = '\n';
	said[n] = '\0';
	return true;
}

/* "KEY>DATA" of each record with | for NUL, or "LINE: what is wrong". */
static const char *
compiled(const char *text)
{
	struct tcprules_fault fault;

	said[0] = '\0';
	if (!tcprules_compile(ga_str_c(text), note, NULL, &fault))
		snprintf(said, sizeof said, "%u: %s", fault.line, fault.why);
	return said;
}

static void
test_lines_become_records(void **state)
{
	assert_string_equal(compiled("# comment\n\nno rule\n127.:allow,RELAYCLIENT=\"\"\n:deny \t\n"),
	    "127.>+RELAYCLIENT=|\n>D|\n");
	assert_string_equal(compiled("1:deny,A=/b\"/,C=x=x\n 2.:allow"), "1>D|+A=b\"|+C==|\n 2.>\n");
}

static void
test_ranges(void **state)
{
	assert_string_equal(compiled("1.2.3.4-6:allow"), "1.2.3.4>\n1.2.3.5>\n1.2.3.6>\n");
	assert_string_equal(compiled("10.2-3.:deny"), "10.2.>D|\n10.3.>D|\n");
	assert_string_equal(compiled("9-3:allow"), "");
	assert_string_equal(compiled("1.254-999:allow"), "1.254>\n1.255>\n");
	assert_string_equal(compiled("=a-b.example:deny\njoe@1-2:allow"), "=a-b.example>D|\njoe@1-2>\n");
}

static void
test_ipv6_addresses_stand_in_brackets(void **state)
{
	assert_string_equal(compiled("[2001:DB8:0:0::1]:allow"), "2001:db8::1>\n");
	assert_string_equal(compiled("[2001:db8::ffff]/32:deny"), "2001:db8::/32>D|\n");
	assert_string_equal(compiled("[2001:db8:ffff::]/33:allow,A=\"[\""), "2001:db8:8000::/33>+A=[|\n");
	assert_string_equal(compiled("[::1]/0:allow\n[::1]/128:allow"), "::/0>\n::1>\n");
	/* what tcprules takes means what it means to tcprules */
	assert_string_equal(compiled("[a:allow\n[b]:deny\n[1.2.3.4]:allow"), "[a>\n[b]>D|\n[1.2.3.4]>\n");
}

static void
test_faults_are_told_with_their_lines(void **state)
{
	static const struct { const char *text, *begin; } rows[] = {
		{ ":allow\n\n1:reject", "3: behind the colon stands allow or deny" },
		{ "2001:db8::1:allow", "1: behind the colon stands allow or deny (an IPv6" },
		{ "1:allow,A", "1: a variable is" }, { "1:allow,A=", "1: a variable is" }, { "1:allow,A=\"b", "1: a value without" },
		{ "1:allowed", "1: only ,NAME=" }, { "1:allow,A=\"\"x", "1: only ,NAME=" }, { "1:allow\r", "1: only ,NAME=" },
		{ "1.x-5:allow", "1: a range is" }, { "1-5x:allow", "1: a range is" },
		{ "[::1]/129:allow", "1: behind an IPv6 address" }, { "[::1]/:allow", "1: behind an IPv6 address" },
		{ "[::1]/0032:allow", "1: a colon is missing" }, { "[::1]allow:", "1: a colon is missing" },
		{ "[::ffff:192.0.2.1]:allow", "1: an IPv4 address is written" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (strncmp(compiled(rows[i].text), rows[i].begin, strlen(rows[i].begin)) != 0)
			fail_msg("%s: %s", rows[i].text, said);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines_become_records),
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_ipv6_addresses_stand_in_brackets),
		cmocka_unit_test(test_faults_are_told_with_their_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
