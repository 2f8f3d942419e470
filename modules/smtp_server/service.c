/*
 * service.c - from smtp_service blocks to listeners, certificates and limits.
 *
 * Called by smtp_server.c at start and at each reload, on the main thread or main
 * loop; sessions take and drop generations from their own loops.  Owns the list
 * of services, which only grows.  A reload stages every block before any takes
 * effect, so that a bad one changes nothing; the new generations come into force
 * together with the snapshot.
 *
 * One that was put down (switch.c) goes through all of this without its listeners.
 *
 * Limit: a service whose block was taken out keeps its (small) entry, so that
 * sessions still open can give their slots back.
 */
#include <stdlib.h>
#include <string.h>

#include <greenarrow/service/smtp_services.h>

#include "service.h"

#define EHLO_BASE "PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250-CHUNKING\r\n" \
	"250-BINARYMIME\r\n250-DSN\r\n250-SMTPUTF8\r\n"

static struct smtpd_service *
service_of(struct ga_inst *inst, struct smtpd_service **list, struct ga_str name)
{
	struct smtpd_service *s;

	for (; (s = *list) != NULL; list = &s->next)
		if (ga_str_caseeq(ga_str_c(s->name), name))
			return s;
	s = ga_xcalloc(1, sizeof *s);
	s->inst = inst;
	s->name = ga_xcalloc(1, name.n + 1);
	memcpy(s->name, name.p, name.n);
	pthread_mutex_init(&s->lock, NULL);
	smtpd_limits_init(&s->limits);
	*list = s;
	return s;
}

static struct smtpd_gen *
gen_new(struct smtpd_service *service, struct ga_snapshot *snapshot,
    const struct ga_object *block)
{
	struct ga_pool *pool = ga_pool_new(0);
	struct smtpd_gen *g = ga_alloc(pool, sizeof *g);

	atomic_init(&g->refs, 1);
	g->pool = pool;
	g->service = service;
	g->snapshot = ga_snapshot_ref(snapshot);
	g->settings = ga_snapshot_object(snapshot, block);
	g->block = block;
	g->conf = ga_settings_conf(g->settings, "smtp_server");
	return g;
}

static void
gen_replies(struct smtpd_gen *g)
{
	const char *host = ga_hostname();
	unsigned long long size = (unsigned long long)g->conf->max_message_size;
	/* RFC 9422 has six digits for it */
	long long rcpts = g->conf->max_recipients < 999999 ? g->conf->max_recipients : 999999;
	struct ga_str base = ga_fmt(g->pool, "250-%s\r\n250-" EHLO_BASE "250-LIMITS RCPTMAX=%lld\r\n", host,
	    rcpts);

	g->greeting = ga_fmt(g->pool, "220 %s ESMTP GreenArrow\r\n", host);
	g->helo = ga_fmt(g->pool, "250 %s\r\n", host);
	g->ehlo_tls = ga_fmt(g->pool, "%.*s250-STARTTLS\r\n250 SIZE %llu\r\n", (int)base.n, base.p, size);
	g->ehlo = ga_fmt(g->pool, "%.*s250 SIZE %llu\r\n", (int)base.n, base.p, size);
}

static bool
gen_tls(struct smtpd_gen *g)
{
	const struct ga_strlist *files = &g->conf->tls_certificate_files;
	const char *cert, *key;
	char err[256] = "";

	if (files->n == 0)
		return true;
	if (files->n != 2) {
		ga_log(g->service->inst, GA_ERR, "GA-SMTPD-0002",
		    "smtp_service %s: tls_certificate_files takes two files: certificate, key",
		    g->service->name);
		return false;
	}
	cert = ga_cstr(g->pool, files->v[0]);
	key = ga_cstr(g->pool, files->v[1]);
	if (cert != NULL && key != NULL)
		g->tls = ga_tls_server_new(cert, key, err, sizeof err);
	if (g->tls != NULL)
		return true;
	ga_log(g->service->inst, GA_ERR, "GA-SMTPD-0003", "smtp_service %s: %s",
	    g->service->name, err);
	return false;
}

struct smtpd_gen *
smtpd_gen_make(struct smtpd_service *service, struct ga_snapshot *snapshot,
    const struct ga_object *block)
{
	struct smtpd_gen *g = gen_new(service, snapshot, block);

	if (gen_tls(g) && smtpd_gen_access(g)) {
		gen_replies(g);
		return g;
	}
	smtpd_gen_unref(g);
	return NULL;
}

static bool
listen_on(struct smtpd_service *s, struct ga_str item, ga_accept_fn *accepted)
{
	char err[256] = "";

	if (ga_listen(s->inst, item, accepted, s, err, sizeof err))
		return true;
	ga_log(s->inst, GA_ERR, "GA-SMTPD-0004", "smtp_service %s: %s", s->name, err);
	return false;
}

static bool
listen_all(struct smtpd_gen *g, const struct ga_strlist *list, ga_accept_fn *accepted)
{
	for (size_t i = 0; i < list->n; i++)
		if (!listen_on(g->service, list->v[i], accepted))
			return false;
	return true;
}

static bool
gen_listen(struct smtpd_gen *g, ga_accept_fn *accepted, ga_accept_fn *accepted_tls)
{
	return g->service->down || (listen_all(g, &g->access.listeners.plain, accepted) &&
	    listen_all(g, &g->access.listeners.tls, accepted_tls));
}

static bool
marked_down(const char *name)
{
	const struct ga_down_marks *marks = ga_service_get(GA_DOWN_MARKS_SERVICE, GA_DOWN_MARKS_VERSION);

	return marks != NULL && marks->marked(name);
}

static void
replace(struct smtpd_gen **slot, struct smtpd_gen *g)
{
	if (*slot != NULL)
		smtpd_gen_unref(*slot);
	*slot = g;
}

static void
stage(struct smtpd_service *s, struct smtpd_gen *g)
{
	pthread_mutex_lock(&s->lock);
	replace(&s->staged, g);
	s->declared = true;
	pthread_mutex_unlock(&s->lock);
}

bool
smtpd_services_stage(struct ga_inst *inst, struct smtpd_service **list,
    struct ga_snapshot *snapshot, ga_accept_fn *accepted, ga_accept_fn *accepted_tls)
{
	const struct ga_object *block = ga_object_first(snapshot, NULL, "smtp_service");
	struct smtpd_service *s;

	for (s = *list; s != NULL; s = s->next) {
		stage(s, NULL);
		s->declared = false;
	}
	for (; block != NULL; block = ga_object_next(block)) {
		struct smtpd_gen *g;

		s = service_of(inst, list, ga_object_name(block));
		if (!smtpd_service_in_force(s))
			s->down = marked_down(s->name);
		g = smtpd_gen_make(s, snapshot, block);
		if (g == NULL)
			return false;
		if (!gen_listen(g, accepted, accepted_tls)) {
			smtpd_gen_unref(g);
			return false;
		}
		stage(s, g);
	}
	return true;
}

/* Not earlier: the plan is of all modules, also of those that come up after us. */
static void
gen_plan(struct smtpd_gen *g)
{
	g->plan = ga_settings_plan(g->settings);
	g->content_hooks = GA_WANTED(g->plan, header) || GA_WANTED(g->plan, body) ||
	    GA_WANTED(g->plan, eom);
}

/* What a reload had staged was read before this, or was refused. */
void
smtpd_gen_install(struct smtpd_gen *g)
{
	struct smtpd_service *s = g->service;

	gen_plan(g);
	pthread_mutex_lock(&s->lock);
	replace(&s->staged, NULL);
	replace(&s->gen, g);
	pthread_mutex_unlock(&s->lock);
}

void
smtpd_services_apply(struct smtpd_service *list)
{
	for (struct smtpd_service *s = list; s != NULL; s = s->next) {
		pthread_mutex_lock(&s->lock);
		if (s->staged != NULL || !s->declared) {
			if (s->staged != NULL)
				gen_plan(s->staged);
			replace(&s->gen, s->staged);
			s->staged = NULL;
		}
		pthread_mutex_unlock(&s->lock);
	}
}

void
smtpd_services_free(struct smtpd_service *list)
{
	while (list != NULL) {
		struct smtpd_service *next = list->next;

		replace(&list->gen, NULL);
		replace(&list->staged, NULL);
		smtpd_limits_free(&list->limits);
		pthread_mutex_destroy(&list->lock);
		free(list->name);
		free(list);
		list = next;
	}
}

bool
smtpd_service_in_force(struct smtpd_service *s)
{
	bool yes;

	pthread_mutex_lock(&s->lock);
	yes = s->gen != NULL;
	pthread_mutex_unlock(&s->lock);
	return yes;
}

struct smtpd_gen *
smtpd_gen_get(struct smtpd_service *s)
{
	struct smtpd_gen *g;

	pthread_mutex_lock(&s->lock);
	g = s->gen;
	if (g != NULL)
		atomic_fetch_add(&g->refs, 1);
	pthread_mutex_unlock(&s->lock);
	return g;
}

void
smtpd_gen_unref(struct smtpd_gen *g)
{
	struct ga_pool *pool = g->pool;

	if (atomic_fetch_sub(&g->refs, 1) != 1)
		return;
	if (g->tls != NULL)
		ga_tls_server_unref(g->tls);
	smtpd_access_free(&g->access);
	ga_snapshot_unref(g->snapshot);
	ga_pool_free(pool);
}

bool
smtpd_gen_relays(const struct smtpd_gen *g, const struct ga_sockaddr *peer)
{
	return smtpd_networks_have(&g->access.relay, peer);
}
