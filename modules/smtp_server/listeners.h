/*
 * listeners.h - where a service listens, and with how many sessions, when everything
 * that may say so has been heard.
 */
#ifndef SMTPD_LISTENERS_H
#define SMTPD_LISTENERS_H

#include <greenarrow/ga_conf.h>

#include "environment.h"

struct smtpd_listeners {
	struct ga_strlist plain, tls;	/* IP:PORT */
	unsigned max_connections;
	bool enabled;
};

/*
 * What ENABLED, PORT, IPADDR and CONCURRENCY of an environment_file make of it:
 *   ENABLED      no, 0, false, off or nothing: no listener; yes, 1, true, on
 *   PORT         in place of the port of each plain address; 0: no listener
 *   IPADDR       in place of the plain addresses; 0: all of this machine
 *   CONCURRENCY  max_connections
 * Where there are no plain addresses PORT makes them, of IPADDR or all.  False: told.
 */
bool smtpd_listeners_override(struct smtpd_listeners *, struct ga_pool *,
    const struct smtpd_environment *, smtpd_fault_fn *, void *arg);

#endif
