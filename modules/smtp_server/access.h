/*
 * access.h - what an smtp_service asks of its clients, and gives them.
 *
 * Part of a generation (service.h): made when a configuration is read, immutable
 * after that.
 */
#ifndef SMTPD_ACCESS_H
#define SMTPD_ACCESS_H

#include <greenarrow/net.h>
#include <greenarrow/run.h>

#include "domains.h"
#include "listeners.h"
#include "users.h"

struct smtpd_conf;
struct smtpd_gen;

struct smtpd_networks {
	struct ga_cidr *v;
	size_t n;
};
bool smtpd_networks_have(const struct smtpd_networks *, const struct ga_sockaddr *);

struct smtpd_access {
	struct smtpd_listeners listeners;
	struct smtpd_environment environment;	/* what environment_file says */
	struct smtpd_networks relay;		/* who may send to anyone */
	struct smtpd_networks proxies, xclient;	/* who may say who the client is */
	bool auth;			/* AUTH is spoken */
	bool auth_required;		/* ... and comes before MAIL */
	struct smtpd_domains *domains;	/* whose mail is taken from anyone */
	struct ga_str postmaster, postmaster_domain;	/* where <postmaster> goes */
	struct smtpd_users *users;	/* NULL: the file cannot be read now */
};

/* Fills g->access.  False: a line in the log says why.  Blocks; start and reload. */
bool smtpd_gen_access(struct smtpd_gen *);
void smtpd_access_free(struct smtpd_access *);
/* The same questions for greenarrow_config validate, all faults in one run. */
bool smtpd_access_check(const void *conf, struct ga_diag *);

#endif
