/*
 * commands.h - what the commands of `greenarrow` share.
 */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

#include <stdbool.h>
#include <stddef.h>

#include <json-c/json.h>

struct cli_context {
	const char *argv0;
	const char *config_file;	/* as given; NULL: not given */
};

/* argv[0] is the command's name.  Returns the exit code. */
struct cli_command {
	const char *name, *help;
	int (*run)(struct cli_context *, int argc, char **argv);
};

/* --config-filename=FILE or --config-filename FILE at argv[*at]; false: it is not that option. */
bool cli_config_option(struct cli_context *, int argc, char **argv, int *at);
/* Given, $GREENARROW_CONFIG, or the installed one. */
const char *cli_config_file(const struct cli_context *);
/* The control socket of that configuration; NULL: said why on stderr. malloc'd. */
char *cli_control_socket(const struct cli_context *);
/* Asks one command; takes args.  NULL: said why on stderr, exit 1. */
struct json_object *cli_ask(const struct cli_context *, const char *command,
    struct json_object *args);

/* Reading answers without caring whether a member is there. */
int64_t cli_int(struct json_object *, const char *key);
const char *cli_string(struct json_object *, const char *key);
struct json_object *cli_member(struct json_object *, const char *key);
/* "3d 4h", "12m 5s", "0.250s" */
const char *cli_duration(int64_t ms, char *buf, size_t room);

int cli_status(struct cli_context *, int argc, char **argv);

#endif
