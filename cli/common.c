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

/* Members that belong to the protocol are not the answer's. */
static void
strip(struct json_object *o)
{
	json_object_object_del(o, "id");
	json_object_object_del(o, "ok");
	json_object_object_del(o, "end");
}

/* Moves the members of one list into another. */
static void
append_list(struct json_object *to, struct json_object *from)
{
	size_t n = json_object_is_type(from, json_type_array) ? json_object_array_length(from) : 0;

	for (size_t i = 0; i < n; i++)
		json_object_array_add(to, json_object_get(json_object_array_get_idx(from, i)));
}

/* All parts of an answer as one, the list first. */
static struct json_object *
collect(struct gac_control *c, const char *list, char **err)
{
	struct json_object *all = json_object_new_object(), *whole = json_object_new_array();
	struct json_object *part, *rows;
	int more;

	json_object_object_add(all, list, whole);
	/* the last one has no rows, and is the only one when there are none at all */
	while ((more = gac_control_next(c, &part, err)) == 1 &&
	    (rows = cli_member(part, list)) != NULL) {
		append_list(whole, rows);
		json_object_put(part);
	}
	if (more < 0) {
		json_object_put(all);
		return NULL;
	}
	strip(part);
	json_object_object_foreach(part, key, value)
		json_object_object_add(all, key, json_object_get(value));
	json_object_put(part);
	return all;
}

struct json_object *
cli_ask_list(const char *argv0, const char *command, struct json_object *args, const char *list)
{
	char *path = cli_control_socket(argv0), *err = NULL;
	struct json_object *all = NULL;
	struct gac_control *c;

	if (path == NULL) {
		json_object_put(args);
		return NULL;
	}
	c = gac_control_open(path, &err);
	if (c == NULL)
		json_object_put(args);
	else if (gac_control_send(c, command, args, &err) == 0)
		all = collect(c, list, &err);
	if (all == NULL)
		fprintf(stderr, "%s: %s\n", argv0, err != NULL ? err : "no answer");
	gac_control_close(c);
	free(err);
	free(path);
	return all;
}

/* --- documents --- */

#define INDENT 4

static void print_value(FILE *, struct json_object *, int depth);

static void
print_text(FILE *out, struct json_object *o)
{
	fputs(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN |
	    JSON_C_TO_STRING_NOSLASHESCAPE), out);
}

static void
print_key(FILE *out, const char *key)
{
	struct json_object *text = json_object_new_string(key);

	print_text(out, text);
	fputs(": ", out);
	json_object_put(text);
}

static void
print_object(FILE *out, struct json_object *o, int depth)
{
	bool first = true;

	fputc('{', out);
	json_object_object_foreach(o, key, value) {
		fprintf(out, "%s\n%*s", first ? "" : ",", depth * INDENT, "");
		print_key(out, key);
		print_value(out, value, depth);
		first = false;
	}
	fprintf(out, "\n%*s}", (depth - 1) * INDENT, "");
}

static void
print_array(FILE *out, struct json_object *o, int depth)
{
	size_t n = json_object_array_length(o);

	fputc('[', out);
	for (size_t i = 0; i < n; i++) {
		fprintf(out, "%s\n%*s", i == 0 ? "" : ",", depth * INDENT, "");
		print_value(out, json_object_array_get_idx(o, i), depth);
	}
	fprintf(out, "\n%*s]", (depth - 1) * INDENT, "");
}

/* depth: of the object that it is a member of. */
static void
print_value(FILE *out, struct json_object *o, int depth)
{
	if (json_object_is_type(o, json_type_object) && json_object_object_length(o) > 0)
		print_object(out, o, depth + 1);
	else if (json_object_is_type(o, json_type_array) && json_object_array_length(o) > 0)
		print_array(out, o, depth + 1);
	else if (json_object_is_type(o, json_type_object))
		fputs("{}", out);
	else
		print_text(out, o);
}

void
cli_print_json(FILE *out, struct json_object *o)
{
	print_value(out, o, 0);
	fputc('\n', out);
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
	strip(o);
	if (json)
		cli_print_json(stdout, o);
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
