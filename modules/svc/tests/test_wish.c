/*
 * test_wish.c - what octets in supervise/control come to.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "../wish.h"

static struct svc_wish wish_of(bool up, const char *octets)
{
	struct svc_wish w = { .up = up };

	for (; *octets != '\0'; octets++)
		assert_true(svc_wish_take(&w, *octets));
	return w;
}

struct row {
	bool up;			/* now, and wanted */
	const char *octets;
	enum svc_step step;
	char want;
};

static void test_octets_are_obeyed_as_supervise_does(void **state)
{
	static const struct row rows[] = {
		{ true, "", SVC_REST, 'u' }, { true, "u", SVC_REST, 'u' }, { true, "t", SVC_RESTART, 'u' },
		{ true, "tu", SVC_RESTART, 'u' }, { true, "ut", SVC_RESTART, 'u' }, { true, "d", SVC_DOWN, 'd' },
		{ true, "du", SVC_RESTART, 'u' }, { true, "td", SVC_DOWN, 'd' }, { true, "dt", SVC_DOWN, 'd' },
		{ true, "o", SVC_REST, '\0' }, { true, "ot", SVC_DOWN, '\0' }, { true, "ou", SVC_REST, 'u' },
		{ false, "", SVC_REST, 'd' }, { false, "t", SVC_REST, 'd' }, { false, "u", SVC_UP, 'u' },
		{ false, "tu", SVC_UP, 'u' }, { false, "o", SVC_UP, '\0' }, { false, "ud", SVC_REST, 'd' },
		{ true, "h", SVC_REST, 'u' },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct svc_wish w = wish_of(rows[i].up, rows[i].octets);

		print_message("%s and \"%s\"\n", rows[i].up ? "up" : "down", rows[i].octets);
		assert_int_equal(svc_wish_step(&w, rows[i].up), rows[i].step);
		assert_int_equal(svc_wish_want(&w), rows[i].want);
	}
}

static void test_hangup_is_a_reload_and_nothing_else(void **state)
{
	assert_true(wish_of(true, "h").reload);
	assert_false(wish_of(true, "tudo").reload);
}

static void test_all_other_octets_change_nothing(void **state)
{
	for (int c = 0; c < 256; c++) {
		struct svc_wish before = { .up = true, .anew = true }, w = before;

		if (c != 0 && strchr("udoth", c) != NULL)
			continue;
		assert_false(svc_wish_take(&w, (char)c));
		assert_memory_equal(&w, &before, sizeof w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_octets_are_obeyed_as_supervise_does),
		cmocka_unit_test(test_hangup_is_a_reload_and_nothing_else),
		cmocka_unit_test(test_all_other_octets_change_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
