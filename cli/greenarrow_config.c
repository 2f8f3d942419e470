/*
 * greenarrow_config.c - check a configuration, show what it means, apply it
 *
 *	greenarrow_config validate [FILE]
 *	greenarrow_config reload
 *	greenarrow_config show [--virtual-mta=NAME] [--domain=DOMAIN] [--json]
 *	greenarrow_config directives [MODULE...] [--json | --man]
 *
 * The checking is core/conf's, the same that the daemon does.  Nothing is
 * started; the modules' own check() functions run in a child, greenarrowd
 * --check.  Exit codes: 0 done, 1 refused or failed (said on stderr), 2 wrong
 * usage.
 */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <json-c/json.h>

#include "cli_options.h"
#include "control/client.h"
#include "greenarrow_config.h"
#include "conf/snapshot.h"

void config_builtin(struct ga_pool *pool, struct gac_conf_options *o)
{
	o->nbuiltin = gac_manifest_list(pool, GA_SBINDIR "/greenarrowd", &o->builtin);
}

struct gac_conf *config_load(const char *file, const char *module_directory)
{
	struct gac_conf_options o = { .file = file, .module_directory = module_directory };
	struct ga_diag *diag = gac_diag_new();
	struct ga_pool *pool = ga_pool_new(0);
	struct gac_conf *conf;

	config_builtin(pool, &o);
	conf = gac_conf_load(&o, diag);
	ga_pool_free(pool);
	gac_diag_print(diag, stderr);
	gac_diag_free(diag);
	return conf;
}

/*
 * The modules' own check() functions: they are code, so they run in a process of
 * their own, greenarrowd --check, which says on stderr what they found.  True
 * also where that program is not installed: then nothing more can be known.
 */
static bool modules_accept(const struct config_args *a, const char *file)
{
	const char *daemon = getenv("GREENARROWD");
	char option[4096];
	char *argv[] = { (char *)(uintptr_t)"greenarrowd", option, (char *)(uintptr_t)"--check", NULL };
	int status = 0;
	pid_t pid;

	if (daemon == NULL)
		daemon = GA_SBINDIR "/greenarrowd";
	snprintf(option, sizeof option, "--config-filename=%s", file);
	if (access(daemon, X_OK) != 0 || posix_spawn(&pid, daemon, NULL, NULL, argv, environ) != 0)
		return true;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status))
		fprintf(stderr, "%s: a module's check of the configuration %s (signal %d)\n", a->argv0,
		    WTERMSIG(status) == SIGALRM ? "did not end" : "crashed", WTERMSIG(status));
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int validate(const struct config_args *a, const char *file)
{
	struct gac_conf *conf = config_load(file, a->module_directory);
	int rc = conf != NULL && (a->module_directory != NULL || modules_accept(a, file)) ? 0 : 1;

	gac_conf_free(conf);
	return rc;
}

/* Where the daemon of that file listens; free() it. */
static char *socket_of(struct gac_conf *conf)
{
	struct ga_snapshot *snap = gac_snapshot_new(conf, NULL);
	struct ga_str dir = gac_snapshot_core(snap)->run_directory;
	char *path = NULL;

	if (asprintf(&path, "%.*s/control.sock", (int)dir.n, dir.p) < 0)
		abort();
	ga_snapshot_unref(snap);
	return path;
}

/* Lines that the daemon has for the operator ("needs a restart: ..."). */
static void print_notes(struct json_object *reply)
{
	struct json_object *notes;

	if (!json_object_object_get_ex(reply, "notes", &notes) || !json_object_is_type(notes, json_type_array))
		return;
	for (size_t i = 0; i < json_object_array_length(notes); i++)
		fprintf(stderr, "%s\n", json_object_get_string(json_object_array_get_idx(notes, i)));
}

static int reload(const struct config_args *a, const char *file)
{
	struct gac_conf *conf = config_load(file, a->module_directory);
	struct json_object *reply = NULL;
	char *socket, *err = NULL;
	int rc;

	if (conf == NULL)
		return 1;
	if (!modules_accept(a, file)) {
		gac_conf_free(conf);
		return 1;
	}
	socket = socket_of(conf);
	rc = gac_control_call(socket, "reload", json_object_new_object(), &reply, &err);
	if (rc != 0)
		fprintf(stderr, "%s: reload: %s\n", a->argv0, err != NULL ? err : "failed");
	else
		print_notes(reply);
	json_object_put(reply);
	free(err);
	free(socket);
	return rc == 0 ? 0 : 1;
}

static int command(const struct config_args *a, int n, char **operands)
{
	const char *verb = n > 0 ? operands[0] : "";
	const char *file = cli_config_filename();

	if (n == 0)
		return cli_wrong_usage(a->argv0, "a command is missing");
	if (strcmp(verb, "directives") == 0)
		return config_directives(a, file, operands + 1, n - 1);
	if (strcmp(verb, "validate") == 0 && n == 2)
		return validate(a, operands[1]);
	if (strcmp(verb, "validate") != 0 && strcmp(verb, "reload") != 0 && strcmp(verb, "show") != 0)
		return cli_wrong_usage(a->argv0, "unknown command `%s`", verb);
	if (n > 1)
		return cli_wrong_usage(a->argv0, "%s: unexpected `%s`", verb, operands[n - 1]);
	if (strcmp(verb, "validate") == 0)
		return validate(a, file);
	return strcmp(verb, "reload") == 0 ? reload(a, file) : config_show(a, file);
}

int main(int argc, char **argv)
{
	struct config_args a = { .argv0 = argv[0] };
	const struct cli_option options[] = {
		{ "virtual-mta", 0, NULL, &a.virtual_mta, "show: settings of this VirtualMTA" },
		{ "domain", 0, NULL, &a.domain, "show: settings for this recipient domain" },
		{ "mx", 0, NULL, &a.mx, "show: names of its MX hosts, with commas between" },
		{ "smtp-service", 0, NULL, &a.smtp_service, "show: settings of this smtp_service" },
		{ "json", 0, &a.json, NULL, "print the output as a json document" },
		{ "man", 0, &a.man, NULL, "directives: print the source of a manual page" },
		{ "module-directory", 0, NULL, &a.module_directory, "where modules are, unless the file says so" },
	};
	static const char *const synopsis[] = {
		"validate [FILE]", "reload",
		"show [--virtual-mta=NAME] [--domain=DOMAIN] [--mx=HOST,...] [--smtp-service=NAME] [--json]",
		"directives [MODULE...] [--json|--man]", NULL
	};
	const struct cli_usage usage = {
		synopsis,
		"This tool is for checking a configuration file, showing the settings that it\n"
		"results in, applying it to the running daemon, and listing all directives.",
		options, sizeof options / sizeof options[0]
	};
	int exit_code, first = cli_parse(&usage, argc, argv, &exit_code);

	return first < 0 ? exit_code : command(&a, argc - first, argv + first);
}
