/*
 * throttle.c - `greenarrow throttle KEY show`: one throttle group.
 */
#include "config.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cli_options.h"
#include "commands.h"

static bool json;

static const struct cli_option options[] = {
	{ "json", 0, &json, NULL, "print the output as a json document" },
};

static const struct cli_usage usage = {
	(const char *const[]){ "throttle [ARGUMENTS] KEY show", NULL },
	"This tool shows one throttle group, of the key or the id that throttles shows:\n"
	"its limits as written and in force, what of them is used, and what waits.",
	options, sizeof options / sizeof options[0]
};

static void
print_group(struct json_object *o)
{
	json_object_object_foreach(o, key, value) {
		const char *between = "";

		printf("%-36s", key);
		if (!json_object_is_type(value, json_type_array)) {
			printf("%s\n", json_object_get_string(value));
			continue;
		}
		for (size_t i = 0; i < json_object_array_length(value); i++, between = ", ")
			printf("%s%s", between, json_object_get_string(json_object_array_get_idx(value, i)));
		printf("\n");
	}
}

int
cli_throttle(int argc, char **argv)
{
	struct json_object *args, *o, *group;
	int code, first = cli_parse(&usage, argc, argv, &code);

	if (first < 0)
		return code;
	if (first + 2 != argc)
		return cli_wrong_usage(argv[0], "throttle: a KEY and what to do are needed");
	if (strcmp(argv[first + 1], "show") != 0)
		return cli_wrong_usage(argv[0], "throttle: `%s` is not show", argv[first + 1]);
	args = json_object_new_object();
	json_object_object_add(args, "key", json_object_new_string(argv[first]));
	o = cli_ask(argv[0], "throttle", args);
	if (o == NULL)
		return 1;
	group = cli_member(o, "throttle");
	if (json)
		cli_print_json(stdout, group);
	else
		print_group(group);
	json_object_put(o);
	return 0;
}
