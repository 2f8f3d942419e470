/*
 * access.c - from directives to what a session asks: listeners, AUTH, users, domains.
 *
 * Called by service.c when a configuration comes into force, and by check() in the
 * process of greenarrow_config validate; main thread or main loop.  A fault of the
 * settings, or of a line in smtp_users, refuses the configuration.  A file that
 * cannot be read does not: it may be on its way, and AUTH says 454 until it is there.
 *
 * Limit: smtp_users is read on the main loop, as certificates are; a hundred thousand
 * users take it some tens of milliseconds at a reload.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <greenarrow/mail.h>

#include "service.h"

/* --- what is told to whom --- */

/* A fault of a service, or of a place in one of its files. */
struct report {
	struct ga_inst *inst;		/* to the log, */
	struct ga_diag *diag;		/* or to this when it is there */
	const char *service, *file;
	bool good;			/* no error so far */
};

static void fault(struct report *, const char *fmt, ...) GA_PRINTF(2, 3);

static void
fault(struct report *r, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	r->good = false;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (r->diag != NULL)
		ga_diag_error(r->diag, NULL, "smtp_service %s: %s", r->service, text);
	else
		ga_log(r->inst, GA_ERR, "GA-SMTPD-0014", "smtp_service %s: %s", r->service, text);
}

static void
file_fault(void *arg, unsigned line, unsigned column, bool error, const char *message)
{
	struct report *r = arg;

	r->good = r->good && !error;
	if (r->diag != NULL && error)
		ga_diag_error_at(r->diag, r->file, line, column, "%s", message);
	else if (r->diag != NULL)
		ga_diag_warn_at(r->diag, r->file, line, column, "%s", message);
	else if (error)
		ga_log(r->inst, GA_ERR, "GA-SMTPD-0015", "%s:%u:%u: %s", r->file, line, column,
		    message);
}

/* Optional AUTH without the file is a service that has no users yet. */
static void
file_missing(struct report *r, int error, bool required)
{
	if (r->diag != NULL && error == ENOENT && !required)
		return;
	if (r->diag != NULL)
		ga_diag_warn_at(r->diag, r->file, 0, 0, "%s: nobody can authenticate", strerror(error));
	else
		ga_log(r->inst, GA_WARN, "GA-SMTPD-0016", "smtp_service %s: %s: %s; AUTH is answered with 454",
		    r->service, r->file, strerror(error));
}

/* --- listeners --- */

static void
make_listeners(struct smtpd_access *a, const struct smtpd_conf *conf, struct ga_pool *pool,
    struct report *r)
{
	struct smtpd_listeners *l = &a->listeners;
	int error = 0;

	*l = (struct smtpd_listeners){ conf->listen, conf->listen_tls, (unsigned)conf->max_connections, true };
	if (conf->environment_file.n > 0) {
		r->file = ga_cstr(pool, conf->environment_file);
		if (r->file == NULL || !smtpd_environment_read(pool, r->file, &a->environment, file_fault, r, &error))
			fault(r, "environment_file %.*s: %s", (int)conf->environment_file.n,
			    conf->environment_file.p, strerror(error));
		else
			smtpd_listeners_override(l, pool, &a->environment, file_fault, r);
	}
	if (l->enabled && l->plain.n == 0 && l->tls.n == 0)
		fault(r, "it lacks listen or listen_tls");
}

/* --- users --- */

static void
read_users(struct smtpd_access *a, const struct smtpd_conf *conf, struct ga_pool *pool,
    struct report *r)
{
	int error = 0;

	r->file = ga_cstr(pool, conf->smtp_users_file);
	if (r->file == NULL) {
		fault(r, "smtp_users_file: a NUL in its name");
		return;
	}
	a->users = smtpd_users_read(r->file, file_fault, r, &error);
	if (a->users == NULL)
		file_missing(r, error, a->auth_required);
}

/* --- networks --- */

/* The configuration has been checked: is=cidr. */
static void
make_networks(struct smtpd_networks *to, const struct ga_strlist *list, struct ga_pool *pool)
{
	to->v = ga_alloc(pool, (list->n + 1) * sizeof *to->v);
	for (size_t i = 0; i < list->n; i++)
		to->n += ga_cidr_parse(&to->v[to->n], list->v[i]);
}

bool
smtpd_networks_have(const struct smtpd_networks *in, const struct ga_sockaddr *a)
{
	for (size_t i = 0; i < in->n; i++)
		if (ga_cidr_match(&in->v[i], a))
			return true;
	return false;
}

/* --- recipients --- */

static void
make_domains(struct smtpd_access *a, const struct smtpd_conf *conf, struct ga_pool *pool,
    struct report *r)
{
	struct ga_str bad;

	a->domains = smtpd_domains_new(pool, &conf->relay_domains, &bad);
	if (a->domains == NULL)
		fault(r, "relay_domains %.*s: not a domain, *.domain or [*.]domain", (int)bad.n, bad.p);
}

static void
make_postmaster(struct smtpd_access *a, const struct smtpd_conf *conf, struct ga_pool *pool,
    struct report *r)
{
	const char *host = ga_hostname();
	struct ga_str local, domain;
	char room[256];

	a->postmaster = conf->postmaster_address;
	if (a->postmaster.n == 0)
		a->postmaster = ga_fmt(pool, "postmaster@%s", host != NULL ? host : "localhost");
	if (ga_mail_address(a->postmaster, false, &local, &domain) == GA_MAIL_OK && domain.n > 0 &&
	    ga_mail_domain(domain, room, sizeof room, &domain))
		a->postmaster_domain = ga_dup(pool, domain);
	else
		fault(r, "postmaster_address %.*s: not an address with a domain", (int)a->postmaster.n,
		    a->postmaster.p);
}

/* --- all of it --- */

static void
make(struct smtpd_access *a, const struct smtpd_conf *conf, const struct ga_object *block,
    struct ga_pool *pool, struct report *r)
{
	make_listeners(a, conf, pool, r);
	a->auth_required = conf->require_auth || conf->smtp_auth == SMTPD_AUTH_REQUIRED;
	a->auth = a->auth_required || conf->smtp_auth == SMTPD_AUTH_OPTIONAL;
	if (conf->require_auth && conf->smtp_auth == SMTPD_AUTH_OFF &&
	    ga_object_has(block, "smtp_server", "smtp_auth"))
		fault(r, "require_auth yes needs AUTH, and smtp_auth is off");
	if (conf->listen_tls.n > 0 && conf->tls_certificate_files.n == 0)
		fault(r, "listen_tls needs tls_certificate_files");
	if (conf->require_tls && conf->tls_certificate_files.n == 0)
		fault(r, "require_tls yes needs tls_certificate_files");
	make_networks(&a->relay, &conf->relay_from, pool);
	make_networks(&a->proxies, &conf->incoming_smtp_accept_proxy_protocol, pool);
	make_networks(&a->xclient, &conf->xclient_from, pool);
	make_domains(a, conf, pool, r);
	make_postmaster(a, conf, pool, r);
	if (a->auth)
		read_users(a, conf, pool, r);
}

bool
smtpd_gen_access(struct smtpd_gen *g)
{
	struct report r = { .inst = g->service->inst, .service = g->service->name, .good = true };

	make(&g->access, g->conf, g->block, g->pool, &r);
	return r.good;
}

void
smtpd_access_free(struct smtpd_access *a)
{
	smtpd_users_unref(a->users);
	smtpd_domains_free(a->domains);
}

bool
smtpd_access_check(const void *general, struct ga_diag *diag)
{
	struct ga_snapshot *snapshot = ga_snapshot_current();
	const struct ga_object *block = ga_object_first(snapshot, NULL, "smtp_service");
	struct report r = { .diag = diag, .good = true };

	for (; block != NULL; block = ga_object_next(block)) {
		struct ga_pool *pool = ga_pool_new(0);
		struct smtpd_access a;

		memset(&a, 0, sizeof a);
		r.service = ga_cstr(pool, ga_object_name(block));
		make(&a, ga_settings_conf(ga_snapshot_object(snapshot, block), "smtp_server"), block,
		    pool, &r);
		smtpd_access_free(&a);
		ga_pool_free(pool);
	}
	ga_snapshot_unref(snapshot);
	return r.good;
}
