/*
 * test_database.c - which rule is found for whom, and files that are no databases.
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

#include "../lookup.h"
#include "make.h"

static char path[] = "/tmp/ga-rules-XXXXXX";

/* "KEY DATA" of the rule that holds, with | for NUL; "none". */
static const char *
rule_of(const struct tcpr_db *db, const char *ip)
{
	static char said[300];
	struct ga_str data;
	char key[TCPR_KEY];
	size_t n;

	if (!tcpr_lookup(db, ga_str_c(ip), key, &data))
		return "none";
	n = (size_t)snprintf(said, sizeof said, "%s ", key);
	for (size_t i = 0; i < data.n; i++)
		said[n++] = data.p[i] != '\0' ? data.p[i] : '|';
	said[n] = '\0';
	return said;
}

static struct tcpr_db *
database(const struct row *rows)
{
	const char *why = NULL;
	struct tcpr_db *db;

	make_database(path, rows);
	db = tcpr_db_read(path, &why);
	if (db == NULL)
		fail_msg("%s", why);
	return db;
}

static void
test_the_first_rule_in_the_documented_order_holds_alone(void **state)
{
	static const struct row rows[] = {
		{ "192.0.2.1", "+A=1|" }, { "192.0.2.1", "+A=second|" }, { "192.0.2.", DENY }, { "192.", "+B=2|" },
		{ "10.1.", ALLOW }, { "10.1.2", "+never=|" }, { "info@192.0.2.9", DENY }, { "=host.example", DENY },
		{ "", "+D=default|" }, { NULL, NULL },
	};
	struct tcpr_db *db = database(rows);

	assert_int_equal(tcpr_db_records(db), 9);
	assert_string_equal(rule_of(db, "192.0.2.1"), "192.0.2.1 +A=1|");
	assert_string_equal(rule_of(db, "192.0.2.9"), "192.0.2. D|");
	assert_string_equal(rule_of(db, "192.0.20.1"), "192. +B=2|");
	assert_string_equal(rule_of(db, "10.1.2.3"), "10.1. ");
	assert_string_equal(rule_of(db, "10.11.2.3"), " +D=default|");
	assert_string_equal(rule_of(db, "::ffff:192.0.2.1"), "192.0.2.1 +A=1|");
	assert_string_equal(rule_of(db, "2001:db8::1"), " +D=default|");
	assert_string_equal(rule_of(db, ""), " +D=default|");
	tcpr_db_unref(db);
}

static void
test_without_a_rule_there_is_none(void **state)
{
	static const struct row rows[] = { { "192.0.2.1", DENY }, { NULL, NULL } }, no_rows[] = { { NULL, NULL } };
	struct tcpr_db *db = database(rows);

	assert_string_equal(rule_of(db, "192.0.2.2"), "none");
	assert_string_equal(rule_of(db, "2001:db8::1"), "none");
	assert_string_equal(rule_of(db, ""), "none");
	tcpr_db_unref(db);
	db = database(no_rows);
	assert_string_equal(rule_of(db, "192.0.2.1"), "none");
	tcpr_db_unref(db);
}

static void
test_the_longest_ipv6_network_holds(void **state)
{
	static const struct row rows[] = {
		{ "::/0", "+N=0|" }, { "2001:db8::/32", "+N=32|" }, { "2001:db8:1::/48", "+N=48|" }, { "2001:db8:1::/127", "+N=127|" },
		{ "2001:db8::1", "+N=128|" }, { "2001:db8:8000::/33", "+N=33|" }, { "10.0.0.0/8", "+N=v4|" }, { NULL, NULL },
	};
	struct tcpr_db *db = database(rows);

	assert_string_equal(rule_of(db, "2001:db8::1"), "2001:db8::1 +N=128|");
	assert_string_equal(rule_of(db, "2001:db8::2"), "2001:db8::/32 +N=32|");
	assert_string_equal(rule_of(db, "2001:db8:1::1"), "2001:db8:1::/127 +N=127|");
	assert_string_equal(rule_of(db, "2001:db8:1::2"), "2001:db8:1::/48 +N=48|");
	assert_string_equal(rule_of(db, "2001:db8:8000::2"), "2001:db8:8000::/33 +N=33|");
	assert_string_equal(rule_of(db, "fe80::1"), "::/0 +N=0|");
	assert_string_equal(rule_of(db, "10.1.2.3"), "none");	/* IPv4 has no such networks */
	tcpr_db_unref(db);
}

static void
assert_refused(const char *reason)
{
	const char *why = NULL;

	assert_null(tcpr_db_read(path, &why));
	assert_non_null(why);
	assert_non_null(strstr(why, reason));
}

static void
test_what_is_no_database_of_rules_is_refused(void **state)
{
	static const char *const bad[] = { "X|", "+NOVALUE|", "+A=1", "Dx|", "|", "D||" };
	static const char text[3000] = "127.0.0.1:allow\n";

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		make_database(path, (struct row[]){ { "1.", bad[i] }, { NULL, NULL } });
		assert_refused("other things");
	}
	make_file(path, "", 0);
	assert_refused("not a cdb");
	make_file(path, text, sizeof text);
	assert_refused("not a cdb");
	unlink(path);
	assert_refused("No such file");
}

/* Every octet of the file in turn is another one, and the file ends anywhere: it is refused or it
 * serves, and nobody is hurt. */
static void
test_a_damaged_database_hurts_nobody(void **state)
{
	static const struct row rows[] = { { "127.", "+RELAYCLIENT=|" }, { "::1", ALLOW }, { "::/0", ALLOW }, { "", DENY },
		{ NULL, NULL } };
	unsigned char octets[4000];
	size_t n, refused = 0;
	const char *why;
	FILE *f;

	make_database(path, rows);
	f = fopen(path, "r");
	assert_non_null(f);
	n = fread(octets, 1, sizeof octets, f);
	fclose(f);
	assert_in_range(n, 2048, sizeof octets - 1);
	for (size_t i = 0; i < n; i++) {
		struct tcpr_db *db;

		octets[i] ^= 0xff;
		make_file(path, octets, n);
		octets[i] ^= 0xff;
		db = tcpr_db_read(path, &why);
		refused += db == NULL;
		if (db != NULL) {
			rule_of(db, "127.0.0.1");
			rule_of(db, "2001:db8::1");
		}
		tcpr_db_unref(db);
	}
	assert_in_range(refused, 50, n);
	for (size_t i = 0; i < n; i += i < 2040 ? 100 : 1) {
		make_file(path, octets, i);
		assert_refused("cdb");
	}
}

static int
setup(void **state)
{
	int fd = mkstemp(path);

	return fd < 0 ? -1 : close(fd);
}

static int
teardown(void **state)
{
	unlink(path);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_first_rule_in_the_documented_order_holds_alone),
		cmocka_unit_test(test_without_a_rule_there_is_none),
		cmocka_unit_test(test_the_longest_ipv6_network_holds),
		cmocka_unit_test(test_what_is_no_database_of_rules_is_refused),
		cmocka_unit_test(test_a_damaged_database_hurts_nobody),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
