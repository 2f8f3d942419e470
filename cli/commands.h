/*
 * commands.h - what the commands of `greenarrow` share.
 */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

#include <stddef.h>
#include <stdio.h>

#include <json-c/json.h>

/* argv[0] is the program's name, the command's own arguments follow.  Exit code. */
struct cli_command {
	const char *name, *help;
	int (*run)(int argc, char **argv);
};

/* The control socket of cli_config_filename()'s configuration; NULL: said why on stderr. malloc'd. */
char *cli_control_socket(const char *argv0);
/* Asks one command; takes args.  NULL: said why on stderr, exit 1. */
struct json_object *cli_ask(const char *argv0, const char *command, struct json_object *args);

/* Asks a command that answers with a list in parts; takes args.  The answer has the
 * whole list as its first member.  NULL: said why on stderr, exit 1. */
struct json_object *cli_ask_list(const char *argv0, const char *command,
    struct json_object *args, const char *list);
/* A document, 4 spaces an indent, with an LF at its end. */
void cli_print_json(FILE *, struct json_object *);

/* Reading answers without caring whether a member is there. */
int64_t cli_int(struct json_object *, const char *key);
const char *cli_string(struct json_object *, const char *key);
struct json_object *cli_member(struct json_object *, const char *key);
/* "3d 4h", "12m 5s", "0.250s" */
const char *cli_duration(int64_t ms, char *buf, size_t room);

/* A command that asks the daemon NAME and prints the answer: as a screen, or with
 * --json as it came.  synopsis: "NAME [ARGUMENTS]"; help: the text of --help. */
int cli_report(int argc, char **argv, const char *name, const char *synopsis, const char *help,
    void (*print)(struct json_object *));

int cli_close_connection(int argc, char **argv);
int cli_dump(int argc, char **argv);
int cli_explain(int argc, char **argv);
int cli_pause(int argc, char **argv);
int cli_pauses(int argc, char **argv);
int cli_remote_connections(int argc, char **argv);
int cli_resume(int argc, char **argv);
int cli_status(int argc, char **argv);
int cli_throttle(int argc, char **argv);
int cli_throttles(int argc, char **argv);
int cli_waits(int argc, char **argv);

#endif
