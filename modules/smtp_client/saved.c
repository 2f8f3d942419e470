/*
 * saved.c - connections that wait for another transaction (reuse_connections).
 *
 * A saved connection is in two lists of its loop: by group, where the one used
 * last is taken first, and by time, from which the oldest is closed when room is
 * needed.  It may serve another domain of its group, or the same one after a
 * reload, when everything matches that a receiver could tell apart: source address,
 * EHLO name, VirtualMTA, transport, TLS policy, a verified certificate where it is asked for, credentials, and the host it is connected to; and
 * when the number of transactions that is allowed there is not reached.
 */
#include "client.h"

#include <string.h>

static struct smtpc_conns *
bucket(struct smtpc_loop *l, const struct ga_group *group)
{
	uintptr_t x = (uintptr_t)group;

	return &l->saved[(x >> 4 ^ x >> 13) % SMTPC_SAVED_BUCKETS];
}

void
smtpc_saved_init(struct smtpc_loop *l)
{
	TAILQ_INIT(&l->saved_all);
	for (size_t i = 0; i < SMTPC_SAVED_BUCKETS; i++)
		TAILQ_INIT(&l->saved[i]);
}

void
smtpc_save(struct smtpc_conn *c)
{
	struct smtpc_loop *l = c->loop;

	smtpc_enter(c, SMTPC_SAVED);
	smtpc_deadline(c, c->conf->reuse_connections_timeout);
	TAILQ_INSERT_HEAD(bucket(l, c->group), c, saved);
	TAILQ_INSERT_TAIL(&l->saved_all, c, saved_all);
	smtpc_tell_connection(c, GA_HOOK_connection_saved, "");
}

/* The caller enters the next state. */
void
smtpc_unsave(struct smtpc_conn *c)
{
	struct smtpc_loop *l = c->loop;

	TAILQ_REMOVE(bucket(l, c->group), c, saved);
	TAILQ_REMOVE(&l->saved_all, c, saved_all);
}

static bool
same_source(const struct ga_route_source *a, const struct ga_route_source *b)
{
	if (a->address.len != b->address.len || !ga_str_eq(a->hostname, b->hostname))
		return false;
	return a->address.len == 0 || ga_sockaddr_equal(&a->address, &b->address, true);
}

/* The address that c is connected to is one of that host, of the same name. */
static bool
host_has(const struct ga_route_host *h, const struct smtpc_conn *c)
{
	if (!ga_str_eq(h->name, ga_str_c(c->mx)))
		return false;
	for (uint16_t i = 0; i < h->naddresses; i++)
		if (ga_sockaddr_equal(&h->addresses[i], &c->remote, true))
			return true;
	return false;
}

/* For the domain that it was made for any of its hosts will do (the better ones
 * did not answer); for another domain only one of those it prefers. */
static bool
same_host(const struct ga_route *r, const struct smtpc_conn *c)
{
	bool same_domain = ga_str_eq(r->domain, ga_str_c(c->initial_domain));

	for (uint32_t i = 0; i < r->nhosts; i++) {
		if (!same_domain && r->hosts[i].preference != r->hosts[0].preference)
			return false;
		if (host_has(&r->hosts[i], c))
			return true;
	}
	return false;
}

bool
smtpc_fits(const struct ga_route *r, void *arg)
{
	const struct smtpc_conn *c = arg;
	const struct smtpc_conf *conf;

	if (r == c->route)
		return true;
	conf = ga_settings_conf(r->settings, "smtp_client");
	return conf->starttls_use == c->conf->starttls_use &&
	    conf->starttls_require == c->conf->starttls_require &&
	    (c->verified || !conf->tls_verify) &&
	    ga_str_eq(conf->destination_username, c->conf->destination_username) &&
	    ga_str_eq(conf->destination_password, c->conf->destination_password) &&
	    conf->reuse_connections &&
	    c->done < (unsigned)conf->reuse_connections_max_messages && r->relay == c->route->relay &&
	    r->mta_id == c->route->mta_id && ga_str_eq(r->virtual_mta, c->route->virtual_mta) &&
	    same_source(c->v6 ? &r->v6 : &r->v4, smtpc_source(c)) && same_host(r, c) &&
	    smtpc_transport(r) == c->transport;
}

bool
smtpc_offer_batch(struct ga_group *group, struct ga_batch batch)
{
	struct smtpc_loop *l = smtpc_loop(ga_worker_self());
	struct smtpc_conn *c;

	if (l->draining)
		return false;
	TAILQ_FOREACH(c, bucket(l, group), saved)
		if (c->group == group && smtpc_fits(batch.first->route, c))
			break;
	if (c == NULL)
		return false;
	smtpc_unsave(c);
	smtpc_set_route(c, batch.first->route);
	c->reused = true;
	smtpc_tell_connection(c, GA_HOOK_connection_reused, "");
	smtpc_prepare(c, batch);
	smtpc_session_ready(c);
	return true;
}

unsigned
smtpc_saved(const struct ga_group *group)
{
	struct smtpc_loop *l = smtpc_loop(ga_worker_self());
	struct smtpc_conn *c;
	unsigned n = 0;

	TAILQ_FOREACH(c, bucket(l, group), saved)
		n += c->group == group;
	return n;
}

bool
smtpc_close_idle(struct ga_group *group, struct ga_worker *w)
{
	struct smtpc_loop *l = smtpc_loop(w);
	struct smtpc_conn *c;

	if (group == NULL) {
		c = TAILQ_FIRST(&l->saved_all);
	} else {
		TAILQ_FOREACH_REVERSE(c, bucket(l, group), smtpc_conns, saved)
			if (c->group == group)
				break;
	}
	if (c == NULL)
		return false;
	smtpc_unsave(c);
	smtpc_session_quit(c, "room is needed");
	return true;
}
