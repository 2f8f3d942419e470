/*
 * greenarrow.c - the operator's command: `greenarrow COMMAND [ARGUMENTS]`.
 *
 * A table of commands; each is in a file of its own, asks the control socket and
 * prints.  A word that is not in the table is tried as a command of a module
 * that needs no running daemon (queue_check): greenarrowd runs it with the
 * configuration loaded and nothing started.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/version.h"
#include "commands.h"

static const struct cli_command commands[] = {
	{ "close_connection", "end one connection for delivering mail", cli_close_connection },
	{ "dump", "throw the mail of a send away", cli_dump },
	{ "explain", "why mail moves or does not", cli_explain },
	{ "pause", "hold the mail of a VirtualMTA or send, or defer that of a sender", cli_pause },
	{ "pauses", "what is paused, by whom and why", cli_pauses },
	{ "remote_connections", "all open connections for delivering mail", cli_remote_connections },
	{ "resume", "end a pause or a dump", cli_resume },
	{ "status", "one screen: what the daemon is doing", cli_status },
	{ "throttle", "one throttle group", cli_throttle },
	{ "throttles", "all throttle groups: limits, what is used, what waits", cli_throttles },
	{ "waits", "hooks that a module has not answered yet", cli_waits },
	{ NULL, NULL, NULL }
};

static void
usage(FILE *out, const char *argv0)
{
	fprintf(out, "%s: Usage:\n  greenarrow COMMAND [ARGUMENTS]\n\nCommands:\n", argv0);
	for (const struct cli_command *c = commands; c->name != NULL; c++)
		fprintf(out, "  %-20s%s\n", c->name, c->help);
	fprintf(out,
	    "  %-20s%s\n"
	    "  %-20s%s\n"
	    "\n"
	    "Every command takes --config-filename=FILE and --help.\n"
	    "\n"
	    "Help Options:\n"
	    "  -h, --help                        Show this help message\n"
	    "      --version                     print the version and exit\n",
	    "queue_check", "verify the spool and print what it holds; no daemon may run on it",
	    "smtp_user", "make a line for smtp_users of a password that it reads");
}

/* Not a command of ours: perhaps one of a module. */
static int
run_offline(const char *argv0, int argc, char **argv)
{
	const char *daemon = getenv("GREENARROWD");
	char **args = calloc((size_t)argc + 5, sizeof *args);
	int n = 0, first = 1;

	if (args == NULL)
		return 1;
	if (daemon == NULL)
		daemon = GA_SBINDIR "/greenarrowd";
	args[n++] = (char *)(uintptr_t)daemon;
	/* which configuration is the daemon's option; the rest is the command's */
	if (first < argc && strncmp(argv[first], "--config-filename", 17) == 0) {
		args[n++] = argv[first];
		if (argv[first++][17] == '\0' && first < argc)
			args[n++] = argv[first++];
	}
	args[n++] = (char *)(uintptr_t)"--command";
	args[n++] = argv[0];
	while (first < argc)
		args[n++] = argv[first++];
	execv(daemon, args);
	fprintf(stderr, "%s: %s: %s\n", argv0, daemon, strerror(errno));
	free(args);
	return 1;
}

int
main(int argc, char **argv)
{
	const char *word;

	/* the option may stand before the command, too: it is the command's */
	if (argc > 2 && strncmp(argv[1], "--config-filename=", 18) == 0) {
		char *option = argv[1];

		argv[1] = argv[2];
		argv[2] = option;
	}
	word = argc > 1 ? argv[1] : "";
	if (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0) {
		usage(stdout, argv[0]);
		return 0;
	}
	if (strcmp(word, "--version") == 0) {
		printf("greenarrow %s\n", gac_version());
		return 0;
	}
	if (*word == '\0' || *word == '-') {
		usage(stderr, argv[0]);
		return 2;
	}
	for (const struct cli_command *c = commands; c->name != NULL; c++)
		if (strcmp(word, c->name) == 0) {
			argv[1] = argv[0];
			return c->run(argc - 1, argv + 1);
		}
	return run_offline(argv[0], argc - 1, argv + 1);
}
