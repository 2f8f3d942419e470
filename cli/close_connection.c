/*
 * close_connection.c - `greenarrow close_connection`: end one connection for
 * delivering mail.
 */
#include "config.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "conf/value.h"

#include "cli_options.h"
#include "commands.h"

static bool now;

static const struct cli_option options[] = {
	{ "now", 0, &now, NULL, "do not wait for the end of its transaction" },
};

static const struct cli_usage usage = {
	(const char *const[]){ "close_connection [ARGUMENTS] ID", NULL },
	"This tool ends one connection for delivering mail, of the id that\n"
	"remote_connections shows: by QUIT, after the transaction that it is in; or at\n"
	"once, and then what has no result yet is tried again later.",
	options, sizeof options / sizeof options[0]
};

static const struct {
	const char *done, *text;
} said[] = {
	{ "closed", "is closed" },
	{ "quit", "closes" },
	{ "after_transaction", "closes after its transaction" },
};

static void
print_done(int64_t id, const char *done)
{
	for (size_t i = 0; i < sizeof said / sizeof said[0]; i++)
		if (strcmp(done, said[i].done) == 0)
			printf("connection %lld %s\n", (long long)id, said[i].text);
}

int
cli_close_connection(int argc, char **argv)
{
	struct json_object *args, *answer;
	int64_t id;
	int code, first = cli_parse(&usage, argc, argv, &code);

	if (first < 0)
		return code;
	if (first + 1 != argc)
		return cli_wrong_usage(argv[0], "close_connection: one ID is needed");
	if (gac_value_int(ga_str_c(argv[first]), &id) != NULL || id <= 0)
		return cli_wrong_usage(argv[0], "close_connection: `%s` is not the id of a connection",
		    argv[first]);
	args = json_object_new_object();
	json_object_object_add(args, "id", json_object_new_int64(id));
	json_object_object_add(args, "now", json_object_new_boolean(now));
	answer = cli_ask(argv[0], "close_connection", args);
	if (answer == NULL)
		return 1;
	print_done(id, cli_string(answer, "done"));
	json_object_put(answer);
	return 0;
}
