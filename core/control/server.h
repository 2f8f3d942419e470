/*
 * server.h - the control socket's server half; the rest is <greenarrow/service/control.h>.
 */
#ifndef CORE_CONTROL_SERVER_H
#define CORE_CONTROL_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <greenarrow/service/control.h>

/* Binds run/control.sock, mode 0660, group as given ((gid_t)-1: unchanged), and
 * listens on the main loop.  A socket that another daemon answers on is an error. */
bool gac_control_start(const char *path, gid_t group, char *err, size_t room);
/* Closes listener and clients, removes the socket. */
void gac_control_stop(void);
/* Builds the object of `greenarrow status` from every part registered. */
void gac_status_fill(struct json_object *status);

#endif
