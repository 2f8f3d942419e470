/*
 * test_remote_connections.c - the layouts of `greenarrow remote_connections`, octet
 * for octet as the product's documentation prints them (tests/cli/remote_connections/:
 * NAME.json is the daemon's answer, NAME.txt what is printed).
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "commands.h"
#include "connections_print.h"

static char *printed;
static size_t nprinted;

static const char *
golden(const char *name, const char *kind, char *path, size_t room)
{
	const char *top = getenv("top_srcdir");

	snprintf(path, room, "%s/tests/cli/remote_connections/%s.%s", top != NULL ? top : ".", name,
	    kind);
	return path;
}

static char *
file_text(const char *path)
{
	FILE *f = fopen(path, "r");
	char *text = NULL;
	size_t room = 0;

	assert_non_null(f);
	assert_true(getdelim(&text, &room, '\0', f) > 0);
	fclose(f);
	return text;
}

enum layout { BRIEF, VERBOSE, JSON };

/* 2 seconds and a bit after the connections of brief.json began */
static const struct timespec NOW = { 1612814502, 900000000 };

static void
print_answer(enum layout layout, struct json_object *answer)
{
	FILE *out = open_memstream(&printed, &nprinted);

	assert_non_null(out);
	switch (layout) {
	case BRIEF: connections_print_brief(out, answer, NOW); break;
	case VERBOSE: connections_print_verbose(out, answer); break;
	case JSON: cli_print_json(out, answer); break;
	}
	fclose(out);
}

static void
is_printed_as(const char *name, enum layout layout)
{
	char path[4096];
	struct json_object *answer = json_object_from_file(golden(name, "json", path, sizeof path));
	char *expected = file_text(golden(name, "txt", path, sizeof path));

	assert_non_null(answer);
	print_answer(layout, answer);
	assert_string_equal(printed, expected);
	json_object_put(answer);
	free(expected);
}

static void
test_the_table(void **state)
{
	is_printed_as("brief", BRIEF);
}

static void
test_the_blocks(void **state)
{
	is_printed_as("verbose", VERBOSE);
}

static void
test_the_document(void **state)
{
	is_printed_as("json", JSON);
}

static void
test_columns_widen_together_for_long_values(void **state)
{
	is_printed_as("wide", BRIEF);
}

static struct json_object *
no_connections(void)
{
	return json_tokener_parse("{\"remote_connections\":[],\"connections_saved_for_reuse\":0,"
	    "\"connections_delivery_in_progress\":0}");
}

#define NONE_OPEN "open connections: 0\n- delivery in progress: 0\n- waiting for possible reuse: 0\n"

static void
test_no_connections(void **state)
{
	struct json_object *answer = no_connections();

	print_answer(JSON, answer);
	assert_string_equal(printed, "{\n    \"remote_connections\": [],\n"
	    "    \"connections_saved_for_reuse\": 0,\n"
	    "    \"connections_delivery_in_progress\": 0\n}\n");
	free(printed);
	print_answer(VERBOSE, answer);
	assert_string_equal(printed, NONE_OPEN);
	free(printed);
	print_answer(BRIEF, answer);
	assert_non_null(strstr(printed, "--\n\n" NONE_OPEN));
	json_object_put(answer);
}

static int
begin(void **state)
{
	setenv("TZ", "CST6", 1);
	tzset();
	printed = NULL;
	return 0;
}

static int
end(void **state)
{
	free(printed);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_the_table, begin, end),
		cmocka_unit_test_setup_teardown(test_the_blocks, begin, end),
		cmocka_unit_test_setup_teardown(test_the_document, begin, end),
		cmocka_unit_test_setup_teardown(test_columns_widen_together_for_long_values, begin, end),
		cmocka_unit_test_setup_teardown(test_no_connections, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
