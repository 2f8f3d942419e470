/*
 * waits.c - `greenarrow waits`: what waits for a module.
 *
 * A module may think about a session or an attempt for a while (a database, DNS,
 * a helper): each line is one of those, the oldest first.
 */
#include "config.h"

#include <stdio.h>

#include "commands.h"

static int
older_first(const void *a, const void *b)
{
	int64_t one = cli_int(*(struct json_object *const *)a, "age_ms");
	int64_t two = cli_int(*(struct json_object *const *)b, "age_ms");

	return one < two ? 1 : one > two ? -1 : 0;
}

static void
print_waits(struct json_object *answer)
{
	struct json_object *list = cli_member(answer, "waits");
	size_t n = list != NULL ? json_object_array_length(list) : 0;
	char age[64], left[64];

	if (n == 0) {
		printf("nothing waits for a module\n");
		return;
	}
	json_object_array_sort(list, older_first);
	printf("%-18s %-16s %-16s %-20s %-10s %s\n", "object", "module", "hook", "for", "age", "left");
	for (size_t i = 0; i < n; i++) {
		struct json_object *o = json_object_array_get_idx(list, i);

		printf("%016llx   %-16s %-16s %-20s %-10s %s\n", (unsigned long long)cli_int(o, "object"),
		    cli_string(o, "module"), cli_string(o, "hook"), cli_string(o, "for"),
		    cli_duration(cli_int(o, "age_ms"), age, sizeof age),
		    cli_duration(cli_int(o, "left_ms"), left, sizeof left));
	}
}

int
cli_waits(int argc, char **argv)
{
	return cli_report(argc, argv, "waits", "waits [ARGUMENTS]",
	    "This tool lists the sessions and attempts that wait for a module's answer:\n"
	    "for what, for how long, and how long they may wait still.", print_waits);
}
