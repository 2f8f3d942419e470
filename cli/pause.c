/*
 * pause.c - `greenarrow pause`, `dump`, `resume`, `pauses`: mail that is held back by hand.
 */
#include "config.h"

#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/value.h"

#include "cli_options.h"
#include "commands.h"

static const char *to, *lasts, *percent, *reason;

static const struct cli_option pause_options[] = {
	{ "to", 0, NULL, &to, "the recipient domain (of a sender)" },
	{ "for", 0, NULL, &lasts, "how long: 10m, 2h; until resumed without it" },
	{ "percent", 0, NULL, &percent, "the share of the attempts (of a sender): 100" },
	{ "reason", 0, NULL, &reason, "a line for those who ask why" },
};
static const struct cli_usage pause_usage = {
	(const char *const[]){ "pause virtual_mta [ARGUMENTS] NAME", "pause send [ARGUMENTS] SENDID",
		"pause sender --to=DOMAIN [ARGUMENTS] DOMAIN", NULL },
	"This tool holds the mail of a VirtualMTA (its name or mta_id) or of a send, or\n"
	"defers what a sender's domain sends to a domain.  It stays so over restarts.",
	pause_options, sizeof pause_options / sizeof pause_options[0]
};

static const struct cli_option dump_options[] = {
	{ "reason", 0, NULL, &reason, "a line for those who ask why" },
};
static const struct cli_usage dump_usage = {
	(const char *const[]){ "dump send [ARGUMENTS] SENDID", NULL },
	"This tool throws the mail of a send away, that of the queue and that to come:\n"
	"unsent, and nobody is told.  `resume send` ends that.",
	dump_options, sizeof dump_options / sizeof dump_options[0]
};

static const struct cli_option resume_options[] = {
	{ "to", 0, NULL, &to, "the recipient domain (of a sender)" },
};
static const struct cli_usage resume_usage = {
	(const char *const[]){ "resume virtual_mta NAME", "resume send SENDID",
		"resume sender --to=DOMAIN DOMAIN", NULL },
	"This tool ends a pause, or the dump of a send.  What was held is due at once.",
	resume_options, sizeof resume_options / sizeof resume_options[0]
};

static const char *
who(void)
{
	const struct passwd *pw = getpwuid(getuid());

	return pw != NULL ? pw->pw_name : "";
}

static void
add(struct json_object *o, const char *key, const char *value)
{
	if (value != NULL)
		json_object_object_add(o, key, json_object_new_string(value));
}

/* KIND and NAME; 0, or the exit code. */
static int
read_what(const char *argv0, const char *command, int n, char **what, bool dump, struct json_object *args)
{
	bool sender = n > 0 && strcmp(what[0], "sender") == 0;
	bool others = n > 0 && (strcmp(what[0], "send") == 0 || (!dump && strcmp(what[0], "virtual_mta") == 0));

	if (n == 0 || (!others && (dump || !sender)))
		return cli_wrong_usage(argv0, dump ? "%s: `send` and a SENDID are needed"
		    : "%s: virtual_mta, send or sender, and its name, are needed", command);
	if (n != 2 || what[1][0] == '\0')
		return cli_wrong_usage(argv0, "%s %s: one name is needed", command, what[0]);
	if (sender != (to != NULL))
		return cli_wrong_usage(argv0, "%s %s: --to=DOMAIN is %s", command, what[0],
		    sender ? "needed" : "only for a sender");
	add(args, "kind", dump ? "dump" : what[0]);
	add(args, "name", what[1]);
	add(args, "to", to);
	return 0;
}

static int
read_pause_options(const char *argv0, const char *kind, struct json_object *args)
{
	uint64_t ms;
	double share;
	const char *wrong;

	if (lasts != NULL) {
		wrong = gac_value_duration(ga_str_c(lasts), &ms);
		if (wrong == NULL && ms == 0)
			wrong = "is no time at all";
		if (wrong != NULL)
			return cli_wrong_usage(argv0, "pause: --for: `%s` %s", lasts, wrong);
		json_object_object_add(args, "for_ms", json_object_new_int64((int64_t)ms));
	}
	if (percent != NULL) {
		char *end;

		if (strcmp(kind, "sender") != 0)
			return cli_wrong_usage(argv0, "pause %s: --percent is only for a sender", kind);
		share = strtod(percent, &end);
		if (end == percent || (*end != '\0' && strcmp(end, "%") != 0) || !(share > 0 && share <= 100))
			return cli_wrong_usage(argv0, "pause: --percent: `%s` is not a share of 0 to 100", percent);
		json_object_object_add(args, "percent", json_object_new_double(share));
	}
	return 0;
}

static int
ask(const char *argv0, const char *command, struct json_object *args)
{
	struct json_object *answer;

	add(args, "who", who());
	add(args, "reason", reason);
	answer = cli_ask(argv0, command, json_object_get(args));
	if (answer == NULL)
		return 1;
	if (cli_member(answer, "known") != NULL && !json_object_get_boolean(cli_member(answer, "known")))
		fprintf(stderr, "%s: warning: there is no VirtualMTA \"%s\" now: its mail will be held when there is\n",
		    argv0, cli_string(args, "name"));
	json_object_put(answer);
	return 0;
}

static int
run(int argc, char **argv, const char *command, const struct cli_usage *usage)
{
	struct json_object *args;
	bool dump = strcmp(command, "dump") == 0;
	int code, first = cli_parse(usage, argc, argv, &code);

	if (first < 0)
		return code;
	args = json_object_new_object();
	code = read_what(argv[0], command, argc - first, argv + first, dump, args);
	if (code == 0)
		code = read_pause_options(argv[0], argv[first], args);
	if (code == 0)
		code = ask(argv[0], dump ? "pause" : command, args);
	json_object_put(args);
	return code;
}

int
cli_pause(int argc, char **argv)
{
	return run(argc, argv, "pause", &pause_usage);
}

int
cli_dump(int argc, char **argv)
{
	return run(argc, argv, "dump", &dump_usage);
}

int
cli_resume(int argc, char **argv)
{
	return run(argc, argv, "resume", &resume_usage);
}

static void
print_pause(struct json_object *o)
{
	const char *rule = cli_string(o, "throttle_rule"), *until = cli_string(o, "until");
	const char *why = cli_string(o, "reason");

	printf("%-12s %s", cli_string(o, "kind"), cli_string(o, "what"));
	if (cli_member(o, "percent") != NULL)
		printf("%s to %s%s, %g %%", json_object_get_boolean(cli_member(o, "from_header")) ? " (From field)" : "",
		    cli_string(o, "to"), rule, json_object_get_double(cli_member(o, "percent")));
	printf("\n%-12s since %s%s%s, by %s%s%s\n", "", cli_string(o, "since"), *until != '\0' ? " until " : "", until,
	    cli_string(o, "who"), *why != '\0' ? ": " : "", why);
}

static void
print_pauses(struct json_object *answer)
{
	struct json_object *list = cli_member(answer, "pauses");
	size_t n = list != NULL ? json_object_array_length(list) : 0;

	if (n == 0)
		printf("nothing is paused\n");
	for (size_t i = 0; i < n; i++)
		print_pause(json_object_array_get_idx(list, i));
}

int
cli_pauses(int argc, char **argv)
{
	return cli_report(argc, argv, "pauses", "pauses [ARGUMENTS]",
	    "This tool lists what is paused or dumped: since when, until when, by whom and why.", print_pauses);
}
