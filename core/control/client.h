/*
 * client.h - the control socket's client half, for the CLI.
 */
#ifndef CORE_CONTROL_CLIENT_H
#define CORE_CONTROL_CLIENT_H

#include <json-c/json.h>

struct gac_control;			/* one connection */

/* NULL: err is a sentence (malloc'd). */
struct gac_control *gac_control_open(const char *socket, char **err);
/* Sends a request; takes the reference of args (may be NULL). 0, or -1 and err. */
int gac_control_send(struct gac_control *, const char *cmd, struct json_object *args, char **err);
/* Next answer: 1 one came (the caller's reference), 2 the last one came, -1 err. */
int gac_control_next(struct gac_control *, struct json_object **answer, char **err);
void gac_control_close(struct gac_control *);

/* All of it for a command with one answer.  0: reply is set; -1: err says why. */
int gac_control_call(const char *socket, const char *cmd, struct json_object *args,
    struct json_object **reply, char **err);

#endif
