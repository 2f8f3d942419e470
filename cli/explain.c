/*
 * explain.c - `greenarrow explain`: why mail moves or does not, in sentences.
 */
#include "config.h"

#include <stdbool.h>
#include <stdio.h>

#include "cli_options.h"
#include "commands.h"

static bool json;
static const char *virtual_mta;

static const struct cli_option options[] = {
	{ "virtual-mta", 0, NULL, &virtual_mta, "as if it named this VirtualMTA" },
	{ "json", 0, &json, NULL, "print the answer as a json document" },
};

static const struct cli_usage usage = {
	(const char *const[]){ "explain [ARGUMENTS] ADDRESS|ENVELOPE-ID|DOMAIN", NULL },
	"This tool says why mail moves or does not: what the queue has of it, where it\n"
	"goes and why there, what its throttle group allows, and who uses the group's\n"
	"connections.  Lines that begin with * say what holds it now.",
	options, sizeof options / sizeof options[0]
};

static void
print_fact(struct json_object *fact)
{
	const char *where = cli_string(fact, "where"), *until = cli_string(fact, "until");

	printf("%c %s", json_object_get_boolean(cli_member(fact, "holds")) ? '*' : ' ',
	    cli_string(fact, "text"));
	if (*until != '\0')
		printf(" Until %s.", until);
	if (*where != '\0')
		printf(" (%s)", where);
	printf("\n");
}

static void
print_answer(struct json_object *o)
{
	struct json_object *facts = cli_member(o, "facts"), *envelopes = cli_member(o, "envelopes");
	long long found = (long long)cli_int(envelopes, "found");

	if (found > 1)
		printf("%lld envelopes: %lld wait, %lld are in flight, %lld are held.\n", found,
		    (long long)cli_int(envelopes, "waiting"), (long long)cli_int(envelopes, "in_flight"),
		    (long long)cli_int(envelopes, "held"));
	for (size_t i = 0; facts != NULL && i < json_object_array_length(facts); i++)
		print_fact(json_object_array_get_idx(facts, i));
	if (json_object_get_boolean(cli_member(o, "moves")))
		printf("Nothing holds it.\n");
}

int
cli_explain(int argc, char **argv)
{
	struct json_object *args, *o;
	int code, first = cli_parse(&usage, argc, argv, &code);

	if (first < 0)
		return code;
	if (first + 1 != argc)
		return cli_wrong_usage(argv[0], "explain: one ADDRESS, ENVELOPE-ID or DOMAIN is needed");
	args = json_object_new_object();
	json_object_object_add(args, "what", json_object_new_string(argv[first]));
	if (virtual_mta != NULL)
		json_object_object_add(args, "virtual_mta", json_object_new_string(virtual_mta));
	o = cli_ask(argv[0], "explain", args);
	if (o == NULL)
		return 1;
	if (json)
		cli_print_json(stdout, o);
	else
		print_answer(o);
	json_object_put(o);
	return 0;
}
