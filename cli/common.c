/*
 * common.c - finding the daemon and reading its answers, for `greenarrow`.
 *
 * The control socket is in the run_directory of the configuration; to find it
 * only that one directive matters, so a configuration with an error elsewhere
 * still lets an operator look at the daemon that runs on the one before.
 */
#include "config.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"
#include "control/client.h"

#include "cli_options.h"
#include "commands.h"

char *
cli_control_socket(const char *argv0)
{
	struct ga_pool *pool = ga_pool_new(0);
	const char *dir = gac_conf_run_directory(pool, cli_config_filename());
	char *path = NULL;

	if (dir == NULL)
		fprintf(stderr, "%s: %s: cannot be read\n", argv0, cli_config_filename());
	else if (asprintf(&path, "%s/control.sock", dir) < 0)
		path = NULL;
	ga_pool_free(pool);
	return path;
}

struct json_object *
cli_ask(const char *argv0, const char *command, struct json_object *args)
{
	char *path = cli_control_socket(argv0), *err = NULL;
	struct json_object *reply = NULL;

	if (path == NULL) {
		json_object_put(args);
		return NULL;
	}
	if (gac_control_call(path, command, args, &reply, &err) != 0)
		fprintf(stderr, "%s: %s\n", argv0, err != NULL ? err : "no answer");
	free(err);
	free(path);
	return reply;
}

/* An answer as a document, without the members that belong to the protocol. */
static void
print_json(struct json_object *o)
{
	json_object_object_del(o, "id");
	json_object_object_del(o, "ok");
	printf("%s\n", json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY |
	    JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE));
}

int
cli_report(int argc, char **argv, const char *name, const char *synopsis, const char *help,
    void (*print)(struct json_object *))
{
	bool json = false;
	const struct cli_option options[] = {
		{ "json", 0, &json, NULL, "print the answer as a json document" }
	};
	const char *const synopses[] = { synopsis, NULL };
	const struct cli_usage usage = { synopses, help, options, sizeof options / sizeof options[0] };
	struct json_object *o;
	int code, first = cli_parse(&usage, argc, argv, &code);

	if (first < 0)
		return code;
	if (first < argc)
		return cli_wrong_usage(argv[0], "%s: unexpected `%s`", name, argv[first]);
	o = cli_ask(argv[0], name, NULL);
	if (o == NULL)
		return 1;
	if (json)
		print_json(o);
	else
		print(o);
	json_object_put(o);
	return 0;
}

struct json_object *
cli_member(struct json_object *o, const char *key)
{
	struct json_object *m = NULL;

	return o != NULL && json_object_is_type(o, json_type_object) &&
	    json_object_object_get_ex(o, key, &m) ? m : NULL;
}

int64_t
cli_int(struct json_object *o, const char *key)
{
	struct json_object *m = cli_member(o, key);

	return m != NULL ? json_object_get_int64(m) : 0;
}

const char *
cli_string(struct json_object *o, const char *key)
{
	struct json_object *m = cli_member(o, key);

	return m != NULL ? json_object_get_string(m) : "";
}

const char *
cli_duration(int64_t ms, char *buf, size_t room)
{
	long long s = ms / 1000;

	if (ms < 10000)
		snprintf(buf, room, "%.3fs", (double)ms / 1000);
	else if (s < 60)
		snprintf(buf, room, "%llds", s);
	else if (s < 3600)
		snprintf(buf, room, "%lldm %llds", s / 60, s % 60);
	else if (s < 86400)
		snprintf(buf, room, "%lldh %lldm", s / 3600, s / 60 % 60);
	else
		snprintf(buf, room, "%lldd %lldh", s / 86400, s / 3600 % 24);
	return buf;
}
