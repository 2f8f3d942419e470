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
#include "cli/commands.h"

static const struct cli_command commands[] = {
	{ "status", "one screen: what the daemon is doing", cli_status },
	{ NULL, NULL, NULL }
};

static void
usage(FILE *out, const char *argv0)
{
	fprintf(out,
	    "%s: Usage:\n"
	    "  greenarrow COMMAND [ARGUMENTS]\n"
	    "\n"
	    "Commands:\n", argv0);
	for (const struct cli_command *c = commands; c->name != NULL; c++)
		fprintf(out, "  %-28s  %s\n", c->name, c->help);
	fprintf(out,
	    "  %-28s  %s\n"
	    "\n"
	    "Application Options:\n"
	    "      --config-filename=            the configuration of the instance to ask\n"
	    "      --version                     print the version and exit\n"
	    "\n"
	    "Help Options:\n"
	    "  -h, --help                        Show this help message\n",
	    "queue_check", "verify the spool; the daemon must not run");
}

/* Not a command of ours: perhaps one of a module. */
static int
run_offline(const char *file, int argc, char **argv)
{
	const char *daemon = getenv("GREENARROWD");
	char **args = calloc((size_t)argc + 5, sizeof *args);
	char option[4096];
	int n = 0;

	if (args == NULL)
		return 1;
	if (daemon == NULL)
		daemon = GA_SBINDIR "/greenarrowd";
	snprintf(option, sizeof option, "--config-filename=%s", file);
	args[n++] = (char *)(uintptr_t)daemon;
	args[n++] = option;
	args[n++] = (char *)(uintptr_t)"--command";
	for (int i = 0; i < argc; i++)
		args[n++] = argv[i];
	execv(daemon, args);
	fprintf(stderr, "greenarrow: %s: %s\n", daemon, strerror(errno));
	free(args);
	return 1;
}

int
main(int argc, char **argv)
{
	struct cli_context context = { .argv0 = argv[0] };
	int at = 1;

	for (; at < argc && argv[at][0] == '-'; at++) {
		if (strcmp(argv[at], "-h") == 0 || strcmp(argv[at], "--help") == 0) {
			usage(stdout, argv[0]);
			return 0;
		}
		if (strcmp(argv[at], "--version") == 0) {
			printf("greenarrow %s\n", gac_version());
			return 0;
		}
		if (!cli_config_option(&context, argc, argv, &at)) {
			fprintf(stderr, "%s: unknown option `%s`\nTry `%s --help`.\n", argv[0], argv[at], argv[0]);
			return 2;
		}
	}
	if (at == argc) {
		usage(stderr, argv[0]);
		return 2;
	}
	for (const struct cli_command *c = commands; c->name != NULL; c++)
		if (strcmp(argv[at], c->name) == 0)
			return c->run(&context, argc - at, argv + at);
	return run_offline(cli_config_file(&context), argc - at, argv + at);
}
