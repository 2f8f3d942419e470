/*
 * options.c - the command line of greenarrowd.
 *
 * --command and --check are for the CLI: `greenarrow queue_check` and the like
 * are commands of modules, run by this program with the configuration loaded and
 * nothing started; `greenarrow_config validate` runs the modules' own checks so.
 */
#include "config.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/version.h"
#include "daemon/daemon.h"

struct gac_daemon_job gac_daemon_job;

static const struct option options[] = {
	{ "config-filename", required_argument, NULL, 'c' },
	{ "foreground", no_argument, NULL, 'f' },
	{ "command", required_argument, NULL, 'C' },
	{ "check", no_argument, NULL, 'k' },
	{ "version", no_argument, NULL, 'v' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 }
};

static void
usage(FILE *out, const char *argv0)
{
	fprintf(out,
	    "%s: Usage:\n"
	    "  greenarrowd [ARGUMENTS]\n"
	    "\n"
	    "The GreenArrow mail transfer agent: accepts mail, keeps it safe, delivers it.\n"
	    "\n"
	    "Application Options:\n"
	    "      --config-filename=            read this file in place of %s/greenarrow.conf\n"
	    "      --foreground                  stay in the foreground, log to stderr\n"
	    "      --check                       run every module's own checks of the configuration, then exit\n"
	    "      --command NAME [ARGUMENTS]    run a module's command that needs no running daemon, then exit\n"
	    "      --version                     print the version and exit\n"
	    "\n"
	    "Help Options:\n"
	    "  -h, --help                        Show this help message\n", argv0, GA_CONTROLDIR);
}

static const char *
config_file(const char *given)
{
	const char *env = getenv("GREENARROW_CONFIG");

	if (given != NULL)
		return given;
	return env != NULL && *env != '\0' ? env : GA_CONTROLDIR "/greenarrow.conf";
}

int
gac_daemon_options(int argc, char **argv, int *code)
{
	const char *file = NULL;
	int o;

	/* what stands behind --command NAME is the command's */
	while (gac_daemon_job.command == NULL &&
	    (o = getopt_long(argc, argv, "+h", options, NULL)) != -1)
		switch (o) {
		case 'c':
			file = optarg;
			break;
		case 'f':
			gac_daemon.foreground = true;
			break;
		case 'C':
			gac_daemon_job.command = optarg;
			break;
		case 'k':
			gac_daemon_job.check = true;
			break;
		case 'v':
			printf("%s %s\n", gac_daemon.program, gac_version());
			*code = 0;
			return 1;
		case 'h':
			usage(stdout, argv[0]);
			*code = 0;
			return 1;
		default:
			fprintf(stderr, "Try `%s --help`.\n", argv[0]);
			*code = 2;
			return 1;
		}
	if (optind < argc && gac_daemon_job.command == NULL) {
		fprintf(stderr, "%s: unexpected argument `%s`\n", argv[0], argv[optind]);
		*code = 2;
		return 1;
	}
	gac_daemon_job.argc = argc - optind;
	gac_daemon_job.argv = argv + optind;
	gac_daemon.config_file = config_file(file);
	return 0;
}
