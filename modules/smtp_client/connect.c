/*
 * connect.c - from a batch to a connected stream: route, transport, hosts in order.
 *
 * Called by the throttle (open), and by conn.c when a host or a reused connection
 * turned out to be of no use.  One connection object goes through all its targets
 * under one slot of the group; each connecting gets an id of its own, as hooks and
 * reports show it.  On the loop of the throttle group.
 */
#include "client.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

void
smtpc_set_route(struct smtpc_conn *c, struct ga_route *route)
{
	if (c->route != route) {
		ga_route_ref(route);
		if (c->route != NULL)
			ga_route_unref(c->route);
		c->route = route;
	}
	c->conf = ga_settings_conf(route->settings, "smtp_client");
	c->plan = ga_settings_plan(route->settings);
	c->max = c->conf->reuse_connections ?
	    (unsigned)c->conf->reuse_connections_max_messages : 1;
	if (c->offer.mail_max > 0 && c->offer.mail_max < c->max)
		c->max = c->offer.mail_max;
}

const struct ga_route_source *
smtpc_source(const struct smtpc_conn *c)
{
	return c->v6 ? &c->route->v6 : &c->route->v4;
}

const struct ga_transport *
smtpc_transport(const struct ga_route *route)
{
	const struct ga_transport *t, *best = NULL;

	for (unsigned i = 0; (t = ga_service_nth(GA_TRANSPORT_SERVICE, GA_TRANSPORT_VERSION, i,
	    NULL)) != NULL; i++)
		if (t->serves(route))
			best = t;
	return best;
}

/* A session that was, on this or another host, leaves nothing behind. */
static void
forget_session(struct smtpc_conn *c)
{
	c->offer = (struct smtpc_offer){ 0 };
	c->tls = c->verified = c->authenticated = c->reused = c->needs_rset = c->broken = c->write_failed = c->no_more = false;
	c->rcpt_limit = 0;
	c->wanted = 0;
	c->done = 0;
	c->connected_ms = 0;
	c->local.len = 0;
	smtpc_out_reset(&c->out);
	ga_reply_reset(&c->reply);
}

void
smtpc_drop_stream(struct smtpc_conn *c, const char *reason, bool abort)
{
	if (c->opening != NULL) {
		c->transport->cancel(c->opening);
		smtpc_tell_connection(c, GA_HOOK_connection_failed, reason);
	}
	c->opening = NULL;
	if (c->stream == NULL)
		return;
	smtpc_tell_connection(c, GA_HOOK_connection_closed, reason);
	ga_stream_close(c->stream, abort);
	c->stream = NULL;
}

static void
connected(struct ga_worker *w, struct ga_stream *s, int code, const char *err, void *arg)
{
	struct smtpc_conn *c = arg;
	const struct ga_stream_info *info;
	char text[GA_SOCKADDR_TEXT];

	c->opening = NULL;
	if (s == NULL) {
		smtpc_tell_connection(c, GA_HOOK_connection_failed, err != NULL ? err : strerror(code));
		smtpc_conn_lost(c, "4.4.1", true, "%s (%s): %s", c->mx,
		    ga_sockaddr_text(&c->remote, true, text), err != NULL ? err : strerror(code));
		return;
	}
	c->stream = s;
	s->ready = smtpc_stream_ready;
	s->tls_done = smtpc_stream_tls_done;
	s->arg = c;
	info = ga_stream_info(s);
	c->local = info->local;
	c->connected_ms = ga_now_ms(w);
	smtpc_count(&smtpc.opened, 1);
	smtpc_tell_connection(c, GA_HOOK_connection_opened, "");
	smtpc_want_read(c);
	smtpc_session_begin(c);
}

static uint64_t
wall_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Try targets[target], or give up when there is none. */
void
smtpc_connect_next(struct smtpc_conn *c)
{
	const struct ga_route_host *host;
	struct ga_transport_target target;

	forget_session(c);
	if (c->target >= c->ntargets) {
		smtpc_give_up(c);
		return;
	}
	host = &c->route->hosts[c->targets[c->target].host];
	c->remote = host->addresses[c->targets[c->target].address];
	c->v6 = c->remote.u.sa.sa_family == AF_INET6;
	smtpc_copy(c->mx, sizeof c->mx, host->name);
	c->id = atomic_fetch_add(&smtpc.next_id, 1) + 1;
	c->start_wall_ns = wall_ns();
	c->start_ms = ga_now_ms(c->loop->worker);
	smtpc_enter(c, SMTPC_CONNECTING);
	target = (struct ga_transport_target){ c->route, host, &c->remote, smtpc_source(c),
		(uint32_t)c->conf->smtp_connect_timeout };
	c->opening = c->transport->open(c->loop->worker, &target, connected, c);
}

/* Why there is nowhere to go, in words. */
static void
explain_no_target(struct smtpc_conn *c)
{
	const struct ga_route *r = c->route;
	struct smtpc_verdict v = { .enhanced = "4.4.4" };
	char text[sizeof c->why];

	if (c->transport == NULL)
		snprintf(text, sizeof text, "no transport module serves this route");
	else if (r->nhosts == 0)
		snprintf(text, sizeof text, "no host is known for %.*s", (int)r->domain.n, r->domain.p);
	else if (r->hosts[0].naddresses == 0 && r->hosts[0].why_none != NULL)
		snprintf(text, sizeof text, "%.*s: %s", (int)r->hosts[0].name.n, r->hosts[0].name.p,
		    r->hosts[0].why_none);
	else
		snprintf(text, sizeof text, "%.*s: no address of a family that VirtualMTA %.*s has "
		    "a source address for", (int)r->hosts[0].name.n, r->hosts[0].name.p,
		    (int)r->virtual_mta.n, r->virtual_mta.p);
	v.text = ga_str_c(text);
	smtpc_reason(c, &v);
}

static void
choose_targets(struct smtpc_conn *c)
{
	c->target = 0;
	c->transport = smtpc_transport(c->route);
	c->ntargets = c->transport == NULL ? 0 :
	    smtpc_targets(c->route, (unsigned)c->conf->max_connect_attempts, c->targets);
	if (c->ntargets == 0)
		explain_no_target(c);
}

void
smtpc_conn_open(struct smtpc_loop *l, struct ga_group *group, struct ga_batch batch)
{
	struct smtpc_conn *c = smtpc_conn_new(l);

	c->group = group;
	c->state = SMTPC_CLOSED;	/* so that entering CONNECTING is counted */
	smtpc_phases_begin(c);
	smtpc_set_route(c, batch.first->route);
	smtpc_copy(c->initial_domain, sizeof c->initial_domain, c->route->domain);
	TAILQ_INSERT_TAIL(&l->all, c, all);
	l->open++;
	ga_worker_load(l->worker, 1);
	smtpc_count(&smtpc.connections, 1);
	smtpc_enter(c, SMTPC_CONNECTING);
	smtpc_prepare(c, batch);
	choose_targets(c);
	/* open() may not end in closed(): what fails at once fails by a post. */
	if (l->draining || c->ntargets == 0)
		smtpc_give_up_later(c);
	else
		smtpc_connect_next(c);
}

void
smtpc_conn_again(struct smtpc_conn *c, const char *why, bool abort)
{
	smtpc_drop_stream(c, why, abort);
	c->no_tls = false;
	smtpc_copy(c->initial_domain, sizeof c->initial_domain, c->route->domain);
	smtpc_enter(c, SMTPC_CONNECTING);
	choose_targets(c);
	smtpc_connect_next(c);
}

void
smtpc_conn_retry_clear(struct smtpc_conn *c, const char *err)
{
	char why[300];

	snprintf(why, sizeof why, "TLS failed (%s), once more in clear", err);
	smtpc_drop_stream(c, why, true);
	c->no_tls = true;
	smtpc_connect_next(c);
}
