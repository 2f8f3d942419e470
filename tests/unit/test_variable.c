/*
 * test_variable.c - variables of a session (ga_hook.h).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <greenarrow/run.h>

#include "module/txn.h"

#define A GA_STR("A")

static struct ga_session *
make(void)
{
	static struct ga_session s;

	memset(&s, 0, sizeof s);
	s.pool = ga_pool_new(0);
	return &s;
}

static void
assert_value(struct ga_session *s, const char *name, const char *value)
{
	struct ga_str found = { NULL, 0 };

	assert_int_equal(ga_session_variable(s, ga_str_c(name), &found), value != NULL);
	if (value != NULL)
		assert_true(ga_str_eq(found, ga_str_c(value)));
	assert_int_equal(ga_session_variable(s, ga_str_c(name), NULL), value != NULL);
}

static void
test_the_last_value_counts_and_an_empty_one_is_one(void **state)
{
	struct ga_session *s = make();
	char name[] = "A", value[] = "1";

	assert_value(s, "A", NULL);
	ga_session_variable_set(s, ga_str_c(name), ga_str_c(value));
	name[0] = value[0] = 'x';		/* it has copies */
	assert_value(s, "A", "1");
	assert_value(s, "a", NULL);
	ga_session_variable_set(s, A, GA_STR(""));
	assert_value(s, "A", "");
	ga_pool_free(s->pool);
}

static void
test_what_is_unset_or_cleared_is_not_set(void **state)
{
	struct ga_session *s = make();

	ga_session_variable_unset(s, A);
	assert_value(s, "A", NULL);
	ga_session_variable_set(s, A, GA_STR("1"));
	ga_session_variable_set(s, GA_STR("B"), GA_STR("2"));
	ga_session_variable_unset(s, A);
	assert_value(s, "A", NULL);
	assert_value(s, "B", "2");
	ga_session_variable_set(s, A, GA_STR("3"));
	assert_value(s, "A", "3");
	ga_session_variables_clear(s);
	assert_value(s, "A", NULL);
	assert_value(s, "B", NULL);
	ga_pool_free(s->pool);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_last_value_counts_and_an_empty_one_is_one),
		cmocka_unit_test(test_what_is_unset_or_cleared_is_not_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
