/*
 * throttle.c - `greenarrow throttle KEY`: one throttle group, and its backoff.
 */
#include "config.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "conf/value.h"

#include "cli_options.h"
#include "commands.h"

static bool json;
static const char *duration;

static const struct cli_option options[] = {
	{ "for", 0, NULL, &duration, "how long begin_backoff is to last; default: as the settings say" },
	{ "json", 0, &json, NULL, "print the output as a json document" },
};

static const struct cli_usage usage = {
	(const char *const[]){ "throttle [ARGUMENTS] KEY show",
	    "throttle [ARGUMENTS] KEY begin_backoff [--for=DURATION]",
	    "throttle [ARGUMENTS] KEY end_backoff", NULL },
	"This tool shows one throttle group, of the key or the id that throttles shows:\n"
	"its limits as written and in force, what of them is used, and what waits; or\n"
	"puts it into backoff or takes it out, and shows it then.",
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

/* 0, or the exit code after wrong usage. */
static int
read_deed(const char *argv0, const char *deed, struct json_object *args)
{
	bool begin = strcmp(deed, "begin_backoff") == 0;
	const char *why;
	uint64_t ms;

	if (!begin && strcmp(deed, "end_backoff") != 0 && strcmp(deed, "show") != 0)
		return cli_wrong_usage(argv0, "throttle: `%s` is not one of show, begin_backoff, end_backoff", deed);
	if (strcmp(deed, "show") != 0)
		json_object_object_add(args, "do", json_object_new_string(deed));
	if (duration == NULL)
		return 0;
	if (!begin)
		return cli_wrong_usage(argv0, "throttle: --for is for begin_backoff");
	why = gac_value_duration(ga_str_c(duration), &ms);
	if (why == NULL && ms == 0)
		why = "is no time at all";
	if (why != NULL)
		return cli_wrong_usage(argv0, "throttle: --for: `%s` %s", duration, why);
	json_object_object_add(args, "for_ms", json_object_new_int64((int64_t)ms));
	return 0;
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
	args = json_object_new_object();
	code = read_deed(argv[0], argv[first + 1], args);
	if (code != 0) {
		json_object_put(args);
		return code;
	}
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
