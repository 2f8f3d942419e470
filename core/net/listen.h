/*
 * listen.h - the core's side of listeners: which are open after a reload.
 *
 * Main thread or main loop.  A start or a reload is begin, the modules' calls of
 * ga_listen(), and commit or rollback.
 */
#ifndef CORE_NET_LISTEN_H
#define CORE_NET_LISTEN_H

#include <greenarrow/net.h>

/* From here on ga_listen() says what is to be open after commit. */
void gac_listen_begin(void);
/* Opens the new ones; accepts to EAGAIN and closes those not declared again. */
void gac_listen_commit(void);
/* Closes what was opened since begin; the others go on as before. */
void gac_listen_rollback(void);
/* Accepts what is waiting and closes all.  Twice is fine. */
void gac_listen_close_all(void);

#endif
