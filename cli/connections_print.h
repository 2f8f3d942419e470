/*
 * connections_print.h - the layouts of `greenarrow remote_connections`.
 */
#ifndef CLI_CONNECTIONS_PRINT_H
#define CLI_CONNECTIONS_PRINT_H

#include <stdio.h>
#include <time.h>

#include <json-c/json.h>

/* The answer is that of cli_ask_list("connections"). */
/* A table with a line a connection; now: what connection times are counted to. */
void connections_print_brief(FILE *, struct json_object *answer, struct timespec now);
/* A block of lines a connection; times in the zone of this process. */
void connections_print_verbose(FILE *, struct json_object *answer);

#endif
