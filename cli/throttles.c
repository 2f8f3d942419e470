/*
 * throttles.c - `greenarrow throttles`: every throttle group, what it may and what it does.
 */
#include "config.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli_options.h"
#include "commands.h"
#include "table.h"

static struct {
	bool in_backoff, json;
	const char *key, *virtual_mta;
} given;

static const struct cli_option options[] = {
	{ "in-backoff", 0, &given.in_backoff, NULL, "only groups that are in backoff" },
	{ "json", 0, &given.json, NULL, "print the output as a json document" },
	{ "filter-key", 0, NULL, &given.key,
	    "filter groups to those whose key matches this pattern" },
	{ "filter-virtual-mta", 0, NULL, &given.virtual_mta,
	    "filter groups to those of the VirtualMTA with this name or id" },
};

static const struct cli_usage usage = {
	(const char *const[]){ "throttles [ARGUMENTS]", NULL },
	"This tool shows the throttle groups that have mail: limits as written, and in\n"
	"force where that differs, what of them is used, and what waits.",
	options, sizeof options / sizeof options[0]
};

/* --- cells --- */

/* As written; with what is in force before it where that is something else: "5 (20)". */
static void
text_limit(struct json_object *o, const char *key, const struct timespec *now, char *to)
{
	char force_key[64];
	const char *written = cli_string(o, key), *force;

	(void)now;
	snprintf(force_key, sizeof force_key, "%s_in_force", key);
	force = cli_string(o, force_key);
	if (strcmp(written, force) == 0)
		snprintf(to, TABLE_TEXT, "%s", strcmp(written, "0") == 0 ? "-" : written);
	else
		snprintf(to, TABLE_TEXT, "%s (%s)", strcmp(force, "0") == 0 ? "-" : force,
		    strcmp(written, "0") == 0 ? "-" : written);
}

static void
text_rate(struct json_object *o, const char *key, const struct timespec *now, char *to)
{
	(void)now;
	snprintf(to, TABLE_TEXT, "%.1f/s", json_object_get_double(cli_member(o, key)));
}

/* Without fractions and the zone. */
static void
text_backoff(struct json_object *o, const char *key, const struct timespec *now, char *to)
{
	const char *time = cli_string(o, key);

	(void)now;
	snprintf(to, TABLE_TEXT, "%.19s", *time != '\0' ? time : "-");
}

static void
text_domains(struct json_object *o, const char *key, const struct timespec *now, char *to)
{
	struct json_object *list = cli_member(o, key);
	size_t n = list != NULL ? json_object_array_length(list) : 0;
	int at = 0;

	(void)now;
	*to = '\0';
	for (size_t i = 0; i < n && at < TABLE_TEXT; i++)
		at += snprintf(to + at, (size_t)(TABLE_TEXT - at), "%s%s", i > 0 ? ", " : "",
		    json_object_get_string(json_object_array_get_idx(list, i)));
}

static const struct table_cell cells[] = {
	{ "", "", "id", 4, false, table_text_string, "id" },
	{ "  ", "", "key", 12, true, table_text_string, "key" },
	{ "  ", "", "virtual mta", 0, true, table_text_string, "virtual_mta" },
	{ "  ", "connections", "open", 4, false, table_text_number, "connections" },
	{ " / ", "", "saved", 5, false, table_text_number, "saved_connections" },
	{ " / ", "", "max", 3, false, text_limit, "max_concurrent_connections" },
	{ " / ", "", "rate", 4, false, text_limit, "max_connection_rate" },
	{ "  ", "deliveries", "now", 6, false, text_rate, "deliveries_per_second" },
	{ " / ", "", "max", 6, false, text_limit, "max_delivery_rate" },
	{ "  ", "queued", "ram", 4, false, table_text_number, "queued_ram" },
	{ " / ", "", "bounce", 6, false, table_text_number, "queued_bounce" },
	{ " / ", "", "disk", 4, false, table_text_number, "queued_disk" },
	{ "  ", "", "in flight", 0, false, table_text_number, "in_flight" },
	{ "  ", "", "state", 6, true, table_text_string, "state" },
	{ "  ", "", "backoff until", 13, true, text_backoff, "backoff_ends_at" },
	{ "  ", "", "domains", 0, true, text_domains, "domains" },
};

/* --- the report --- */

/* By their number: the order in which they were made. */
static int
older_first(const void *a, const void *b)
{
	long x = strtol(cli_string(*(struct json_object *const *)a, "id") + 1, NULL, 10);
	long y = strtol(cli_string(*(struct json_object *const *)b, "id") + 1, NULL, 10);

	return x < y ? -1 : x > y;
}

static void
print_report(struct json_object *o)
{
	const struct timespec now = { 0, 0 };

	table_print(stdout, cells, sizeof cells / sizeof cells[0], cli_member(o, "throttles"), &now);
	printf("\nthrottle groups: %lld\n- in backoff: %lld\n- connections in use: %lld\n- deliveries in flight: %lld\n"
	    "- queued: ram %lld, bounce %lld, disk %lld\n",
	    (long long)cli_int(o, "groups"), (long long)cli_int(o, "in_backoff"),
	    (long long)cli_int(o, "connections"),
	    (long long)cli_int(o, "in_flight"), (long long)cli_int(o, "queued_ram"),
	    (long long)cli_int(o, "queued_bounce"), (long long)cli_int(o, "queued_disk"));
}

int
cli_throttles(int argc, char **argv)
{
	struct json_object *args, *o;
	int code, first = cli_parse(&usage, argc, argv, &code);

	if (first < 0)
		return code;
	if (first < argc)
		return cli_wrong_usage(argv[0], "throttles: unexpected `%s`", argv[first]);
	args = json_object_new_object();
	json_object_object_add(args, "in_backoff", json_object_new_boolean(given.in_backoff));
	if (given.key != NULL)
		json_object_object_add(args, "key", json_object_new_string(given.key));
	if (given.virtual_mta != NULL)
		json_object_object_add(args, "virtual_mta", json_object_new_string(given.virtual_mta));
	o = cli_ask_list(argv[0], "throttles", args, "throttles");
	if (o == NULL)
		return 1;
	json_object_array_sort(cli_member(o, "throttles"), older_first);
	if (given.json)
		cli_print_json(stdout, o);
	else
		print_report(o);
	json_object_put(o);
	return 0;
}
