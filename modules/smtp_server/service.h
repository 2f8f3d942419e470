/*
 * service.h - the smtp_service blocks of greenarrow.conf, made ready for use.
 *
 * A service is known by its name and lives as long as the process: counters and
 * limits go on over reloads.  A generation is what one snapshot says about it:
 * immutable, reference counted, held by every session that began under it.
 */
#ifndef SMTPD_SERVICE_H
#define SMTPD_SERVICE_H

#include <pthread.h>

#include <greenarrow/run.h>
#include <greenarrow/net.h>

#include "access.h"
#include "conf.h"
#include "limits.h"

struct smtpd_counters {
	atomic_ullong connections, refused;	/* sockets; of them turned away with 421 */
	atomic_ullong messages, recipients, octets;	/* that got their 250 */
	atomic_ullong messages_refused;		/* 4yz or 5yz after their data */
	atomic_ullong tls;			/* handshakes that succeeded */
};

struct smtpd_gen;
struct smtpd_service {
	struct smtpd_service *next;
	struct ga_inst *inst;
	char *name;
	pthread_mutex_t lock;			/* of the two below */
	struct smtpd_gen *gen;			/* in force; NULL: gone from the file */
	struct smtpd_gen *staged;		/* of a reload that may still be refused */
	bool declared;				/* while a configuration is read */
	bool down;				/* has no listener, whatever it says; main loop */
	struct smtpd_limits limits;
	struct smtpd_counters count;
};

struct smtpd_gen {
	atomic_uint refs;
	struct smtpd_service *service;
	struct ga_snapshot *snapshot;
	const struct ga_settings *settings;	/* these three live in the snapshot */
	const struct ga_plan *plan;
	const struct smtpd_conf *conf;
	const struct ga_object *block;
	struct ga_pool *pool;
	struct ga_tls_server *tls;		/* NULL: no STARTTLS */
	struct smtpd_access access;
	bool content_hooks;			/* somebody edits headers or body */
	/* replies that are the same for every client */
	struct ga_str greeting, ehlo, ehlo_tls, helo;
};

/* What the snapshot and the files that it names say of the service, with a reference.  NULL: the
 * log says why.  Blocks; any thread. */
struct smtpd_gen *smtpd_gen_make(struct smtpd_service *, struct ga_snapshot *,
    const struct ga_object *block) GA_NODISCARD;
/* In force from now on; takes the reference.  Main loop, with no reload under way. */
void smtpd_gen_install(struct smtpd_gen *);

/* All services of the snapshot: checks, loads certificates, declares listeners.
 * False: a line in the log says why, and nothing has changed.  Main loop. */
bool smtpd_services_stage(struct ga_inst *, struct smtpd_service **list, struct ga_snapshot *,
    ga_accept_fn *accepted, ga_accept_fn *accepted_tls);
/* What was staged last is in force from now on.  Any loop, any number of times. */
void smtpd_services_apply(struct smtpd_service *list);
void smtpd_services_free(struct smtpd_service *list);

/* Is there a block of it in the configuration in force?  Any thread. */
bool smtpd_service_in_force(struct smtpd_service *);
/* The generation in force, with a reference; NULL when the block is gone. */
struct smtpd_gen *smtpd_gen_get(struct smtpd_service *) GA_NODISCARD;
void smtpd_gen_unref(struct smtpd_gen *);
/* May this client send to anyone? */
bool smtpd_gen_relays(const struct smtpd_gen *, const struct ga_sockaddr *);

#endif
