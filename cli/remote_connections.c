/*
 * remote_connections.c - `greenarrow remote_connections`: every open connection
 * for delivering mail.
 *
 * Filters are read here, so that a mistake is told before the daemon is asked,
 * and applied in the daemon, which then has less to say.  The layouts are in
 * connections_print.c.
 */
#include "config.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <greenarrow/net.h>

#include "conf/value.h"

#include "cli_options.h"
#include "commands.h"
#include "connections_print.h"

#define LOOP_MS 500

static struct {
	bool verbose, json, loop;
	const char *remote_ip, *local_ip, *duration, *domain, *mtaid, *state;
} given;

static const struct cli_option options[] = {
	{ "verbose", 0, &given.verbose, NULL, "print the output in a more verbose format" },
	{ "json", 0, &given.json, NULL, "print the output as a json document" },
	{ "filter-remote-ip", 0, NULL, &given.remote_ip,
	    "filter connections to those with this remote ip" },
	{ "filter-local-ip", 0, NULL, &given.local_ip,
	    "filter connections to those with this local ip" },
	{ "filter-connection-duration", 0, NULL, &given.duration,
	    "filter connections to those that have been open at least this long" },
	{ "loop", 0, &given.loop, NULL,
	    "run continually every 500ms, clearing the terminal between executions" },
	{ "filter-domain", 0, NULL, &given.domain,
	    "filter connections to those with this initial or most recent domain" },
	{ "filter-mtaid", 0, NULL, &given.mtaid,
	    "filter connections to those of the VirtualMTA with this id" },
	{ "filter-state", 0, NULL, &given.state, "filter connections to those in this state" },
};

static const struct cli_usage usage = {
	(const char *const[]){ "remote_connections [ARGUMENTS]", NULL },
	"This tool is for viewing all open connections for delivering email via SMTP\n"
	"from the MTA. It can present a user-friendly command-line interface, or output\n"
	"its raw data as JSON.",
	options, sizeof options / sizeof options[0]
};

/* --- filters: NULL, or the end of a sentence that begins with the value --- */

static const char *
filter_ip(struct json_object *args, const char *name, const char *value)
{
	struct ga_sockaddr a;

	if (!ga_sockaddr_parse(&a, ga_str_c(value), 0))
		return "is not an IP address such as 192.0.2.1, 192.0.2.1:25, 2001:db8::1 or [2001:db8::1]:25";
	json_object_object_add(args, name, json_object_new_string(value));
	return NULL;
}

static const char *
filter_duration(struct json_object *args, const char *name, const char *value)
{
	uint64_t ms;
	const char *why = gac_value_duration(ga_str_c(value), &ms);

	if (why == NULL)
		json_object_object_add(args, name, json_object_new_int64((int64_t)ms));
	return why;
}

static const char *
filter_domain(struct json_object *args, const char *name, const char *value)
{
	struct ga_pool *pool = ga_pool_new(0);
	union gac_typed v = { .str = ga_str_c(value) };
	const char *why = NULL;

	/* an address literal is the domain of its mail as it stands */
	if (*value != '[')
		why = gac_value_parse(pool, GAC_T_DOMAIN, v.str, &v);
	if (why == NULL)
		json_object_object_add(args, name,
		    json_object_new_string_len(v.str.p, (int)v.str.n));
	ga_pool_free(pool);
	return why;
}

static const char *
filter_mtaid(struct json_object *args, const char *name, const char *value)
{
	int64_t id;

	if (gac_value_int(ga_str_c(value), &id) != NULL || id < 0)
		return "is not the id of a VirtualMTA, which is a number";
	json_object_object_add(args, name, json_object_new_int64(id));
	return NULL;
}

static const char *
filter_state(struct json_object *args, const char *name, const char *value)
{
	static const char *const states[] = { "connecting", "establishing_smtps", "sending",
		"saved_for_reuse", "closing" };

	for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
		if (strcmp(value, states[i]) == 0) {
			json_object_object_add(args, name, json_object_new_string(value));
			return NULL;
		}
	return "is not one of connecting, establishing_smtps, sending, saved_for_reuse, closing";
}

static const struct filter {
	const char *option, *name, **value;
	const char *(*read)(struct json_object *args, const char *name, const char *value);
} filters[] = {
	{ "filter-remote-ip", "remote_ip", &given.remote_ip, filter_ip },
	{ "filter-local-ip", "local_ip", &given.local_ip, filter_ip },
	{ "filter-connection-duration", "min_duration_ms", &given.duration, filter_duration },
	{ "filter-domain", "domain", &given.domain, filter_domain },
	{ "filter-mtaid", "mtaid", &given.mtaid, filter_mtaid },
	{ "filter-state", "state", &given.state, filter_state },
};

/* 0, or the exit code after wrong usage. */
static int
read_filters(const char *argv0, struct json_object *args)
{
	for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
		const struct filter *f = &filters[i];
		const char *why = *f->value != NULL ? f->read(args, f->name, *f->value) : NULL;

		if (why != NULL)
			return cli_wrong_usage(argv0, "--%s: `%s` %s", f->option, *f->value, why);
	}
	return 0;
}

/* --- printing, once or for ever --- */

/* Ctrl-C ends a loop between two reports, never within one. */
static volatile sig_atomic_t printing, stop;

static void
interrupted(int signo)
{
	(void)signo;
	if (printing == 0)
		_exit(0);
	stop = 1;
}

static bool
show(const char *argv0, struct json_object *args, const char *before)
{
	struct json_object *answer = cli_ask_list(argv0, "connections", json_object_get(args),
	    "remote_connections");
	struct timespec now;
	bool ok;

	if (answer == NULL)
		return false;
	clock_gettime(CLOCK_REALTIME, &now);
	printing = 1;
	fputs(before, stdout);
	if (given.json)
		cli_print_json(stdout, answer);
	else if (given.verbose)
		connections_print_verbose(stdout, answer);
	else
		connections_print_brief(stdout, answer, now);
	ok = fflush(stdout) == 0;
	printing = 0;
	json_object_put(answer);
	return ok;
}

static int
loop(const char *argv0, struct json_object *args)
{
	const struct timespec pause = { 0, LOOP_MS * 1000000L };
	const char *clear = isatty(STDOUT_FILENO) ? "\033[H\033[2J" : "";
	bool ok = true;

	signal(SIGINT, interrupted);
	signal(SIGTERM, interrupted);
	while (ok && stop == 0) {
		ok = show(argv0, args, clear);
		if (ok && stop == 0)
			nanosleep(&pause, NULL);
	}
	return ok ? 0 : 1;
}

int
cli_remote_connections(int argc, char **argv)
{
	struct json_object *args;
	int code, first = cli_parse(&usage, argc, argv, &code);

	if (first < 0)
		return code;
	if (first < argc)
		return cli_wrong_usage(argv[0], "remote_connections: unexpected `%s`", argv[first]);
	args = json_object_new_object();
	code = read_filters(argv[0], args);
	if (code == 0 && given.loop)
		code = loop(argv[0], args);
	else if (code == 0)
		code = show(argv[0], args, "") ? 0 : 1;
	json_object_put(args);
	return code;
}
