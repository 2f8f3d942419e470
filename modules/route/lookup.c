/*
 * lookup.c - the hosts of a domain: from what is written, or from DNS.
 *
 * RFC 5321 5.1 and RFC 7505.  MX first; no MX record means the domain itself;
 * NXDOMAIN is for good, a server failure or a timeout is not and is never taken
 * for "no MX"; an MX of "." alone refuses mail; of several it counts for nothing.
 * MX hosts that are this machine are dropped with all that are not preferred to
 * them.  Addresses that come from DNS and cannot be a mail server (unspecified,
 * multicast, broadcast; loopback unless allow_loopback_mx) are dropped.
 *
 * Runs on the loop that asked; lives until the last question is answered.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <greenarrow/mail.h>

#include "route.h"

#define MX_MAX 50		/* more are dropped, the least preferred first */
#define HOSTS_MAX 20		/* of these the addresses are asked for */

struct host_question {
	struct rt_lookup *lookup;
	unsigned host;
	unsigned rrtype;
};

struct rt_lookup {
	struct rt_loop *loop;
	struct rt_draft draft;
	struct ga_str domain;
	uint16_t ports[MX_MAX];
	struct host_question questions[HOSTS_MAX * 2];
	unsigned nquestions, left;
	bool temporary;			/* some answer was a failure that may pass */
	bool from_dns;			/* hosts are MX hosts, or the domain itself */
	bool implicit;
	bool dropped_loop, dropped_bad, dropped_listed;
	struct ga_strlist blacklist;	/* mx_blacklist where it goes */
	bool allow_loopback;
	bool v4, v6;			/* families to ask for */
	rt_lookup_fn *done;
	void *arg;
	bool ended;			/* done has been called: whoever began this step frees it */
};

static void
end(struct rt_lookup *l, struct ga_route *route)
{
	l->done(l->arg, route);
	l->ended = true;
}

/* The end of a step that DNS began. */
static void
settle(struct rt_lookup *l)
{
	if (l->ended)
		free(l);
}

void
rt_lookup_free(struct rt_lookup *l)
{
	ga_route_unref(l->draft.route);
	free(l);
}

/* --- what may be a mail server's address --- */

static bool
loopback(const struct ga_sockaddr *a)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)&a->u.ss;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&a->u.ss;

	if (a->u.sa.sa_family == AF_INET)
		return ntohl(in->sin_addr.s_addr) >> 24 == 127;
	return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr) ||
	    (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr) && in6->sin6_addr.s6_addr[12] == 127);
}

static bool
impossible(const struct ga_sockaddr *a)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)&a->u.ss;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&a->u.ss;

	if (a->u.sa.sa_family == AF_INET) {
		uint32_t ip = ntohl(in->sin_addr.s_addr);

		return ip >> 24 == 0 || ip >= 0xe0000000u;
	}
	/* a mapped address would go round the checks of IPv4 */
	return IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr) || IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr) || IN6_IS_ADDR_MULTICAST(&in6->sin6_addr) ||
	    IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr);
}

/* --- the end: all addresses are here --- */

/* Hosts that are this machine, and all that are not preferred to them, go. */
static void
drop_loops(struct rt_lookup *l)
{
	struct rt_draft *d = &l->draft;
	struct ga_str self = ga_str_c(ga_hostname());
	unsigned limit = 0x10000, n = 0;

	for (unsigned i = 0; i < d->nhosts; i++) {
		bool mine = ga_str_caseeq(d->hosts[i].name, self);

		for (unsigned k = 0; !mine && k < d->hosts[i].naddresses; k++)
			mine = rt_own_address(&d->hosts[i].addresses[k]) &&
			    !(l->allow_loopback && loopback(&d->hosts[i].addresses[k]));
		if (mine && d->hosts[i].preference < limit)
			limit = d->hosts[i].preference;
	}
	for (unsigned i = 0; i < d->nhosts; i++)
		if (d->hosts[i].preference < limit)
			d->hosts[n++] = d->hosts[i];
	l->dropped_loop = n < d->nhosts;
	d->nhosts = n;
}

static unsigned
reachable(const struct rt_draft *d)
{
	unsigned n = 0;

	for (unsigned i = 0; i < d->nhosts; i++)
		n += d->hosts[i].naddresses;
	return n;
}

static struct ga_route *
unreachable(struct rt_lookup *l)
{
	struct rt_draft *d = &l->draft;
	int n = (int)l->domain.n;
	const char *p = l->domain.p;

	if (l->temporary)
		return rt_draft_refuse(d, GA_ROUTE_DEFER, 451, "4.4.3",
		    "DNS failed for an address of the mail hosts of %.*s", n, p);
	if (l->dropped_listed) {
		d->route->cause = "mx_blacklist";
		return rt_draft_refuse(d, GA_ROUTE_FAIL, 550, "5.7.1",
		    "no mail host of %.*s is left: mx_blacklist has them", n, p);
	}
	if (l->dropped_loop)
		return rt_draft_refuse(d, GA_ROUTE_FAIL, 554, "5.4.6",
		    "mail for %.*s would loop back to this host", n, p);
	if (l->dropped_bad)
		return rt_draft_refuse(d, GA_ROUTE_FAIL, 550, "5.4.4",
		    "the mail hosts of %.*s have no address that mail can be sent to", n, p);
	if (!l->from_dns)
		return rt_draft_refuse(d, GA_ROUTE_DEFER, 451, "4.4.4",
		    "the next hop of %.*s has no address", n, p);
	if (l->implicit)
		return rt_draft_refuse(d, GA_ROUTE_FAIL, 550, "5.4.4",
		    "%.*s has neither MX nor address records", n, p);
	return rt_draft_refuse(d, GA_ROUTE_FAIL, 550, "5.4.4",
	    "no mail host of %.*s has an address", n, p);
}

static void
complete(struct rt_lookup *l)
{
	if (l->from_dns)
		drop_loops(l);
	if (reachable(&l->draft) == 0)
		end(l, unreachable(l));
	else
		end(l, rt_draft_deliver(&l->draft));
}

/* --- addresses of hosts --- */

/* Not even "no": it may be another time. */
static bool
no_answer(const struct ga_dns_answer *a)
{
	return a == NULL || a->timed_out || a->bogus || (a->rcode != 0 && a->rcode != 3);
}

static void
take_addresses(struct rt_lookup *l, const struct host_question *q, const struct ga_dns_answer *a)
{
	struct ga_route_host *h = &l->draft.hosts[q->host];

	if (no_answer(a)) {
		l->temporary = true;
		h->why_none = "DNS failed";
		return;
	}
	rt_draft_ttl(&l->draft, a->ttl);
	for (size_t i = 0; i < a->n; i++) {
		struct ga_sockaddr address;

		if (!ga_dns_address(a->rdata[i], q->rrtype, &address))
			continue;
		if (l->from_dns && (impossible(&address) || (loopback(&address) && !l->allow_loopback))) {
			l->dropped_bad = true;
			continue;
		}
		if (l->from_dns && rt_blacklisted_address(l->blacklist, &address)) {
			l->dropped_listed = true;
			h->why_none = "on mx_blacklist";
			continue;
		}
		ga_sockaddr_set_port(&address, l->ports[q->host]);
		rt_draft_address(&l->draft, h, &address);
	}
	if (h->naddresses == 0 && h->why_none == NULL)
		h->why_none = "no address";
}

static void
address_came(struct ga_worker *w, const struct ga_dns_answer *answer, void *arg)
{
	struct host_question *q = arg;
	struct rt_lookup *l = q->lookup;

	(void)w;
	take_addresses(l, q, answer);
	if (--l->left == 0)
		complete(l);
	settle(l);
}

static void
plan_question(struct rt_lookup *l, unsigned host, unsigned rrtype)
{
	l->questions[l->nquestions++] = (struct host_question){ l, host, rrtype };
}

/* IPv4 first, so that its addresses stand first in the host. */
static void
ask_addresses(struct rt_lookup *l)
{
	unsigned n;

	for (unsigned i = 0; i < l->draft.nhosts && i < HOSTS_MAX; i++) {
		if (l->draft.hosts[i].naddresses > 0)
			continue;
		if (l->from_dns && rt_blacklisted_host(l->blacklist, l->draft.hosts[i].name)) {
			l->draft.hosts[i].why_none = "on mx_blacklist";
			l->dropped_listed = true;
			continue;
		}
		if (l->v4)
			plan_question(l, i, GA_DNS_A);
		if (l->v6)
			plan_question(l, i, GA_DNS_AAAA);
	}
	n = l->left = l->nquestions;
	for (unsigned i = HOSTS_MAX; i < l->draft.nhosts; i++)
		l->draft.hosts[i].why_none = "not asked for: there are better ones";
	if (n == 0) {
		complete(l);
		return;
	}
	if (l->loop->resolver == NULL) {
		end(l, rt_draft_refuse(&l->draft, GA_ROUTE_DEFER, 451, "4.4.3", "no resolver"));
		return;
	}
	for (unsigned i = 0; i < n; i++)
		l->loop->resolver->ask(l->loop->worker, l->draft.hosts[l->questions[i].host].name,
		    l->questions[i].rrtype, address_came, &l->questions[i]);
}

/* --- MX --- */

struct mx {
	uint16_t preference;
	char host[256];
};

static int
mx_by_preference(const void *a, const void *b)
{
	const struct mx *x = a, *y = b;

	return x->preference < y->preference ? -1 : x->preference > y->preference;
}

static void
take_mx(struct rt_lookup *l, const struct ga_dns_answer *a)
{
	struct mx *mx = ga_xcalloc(a->n + 1, sizeof *mx);
	size_t n = 0;

	for (size_t i = 0; i < a->n; i++)
		if (ga_dns_mx(a->rdata[i], &mx[n].preference, mx[n].host, sizeof mx[n].host) &&
		    mx[n].host[0] != '\0')
			n++;
	qsort(mx, n, sizeof *mx, mx_by_preference);
	for (size_t i = 0; i < n && i < MX_MAX; i++) {
		l->ports[l->draft.nhosts] = 25;
		rt_draft_host(&l->draft, ga_str_c(mx[i].host), mx[i].preference);
	}
	free(mx);
}

static bool
null_mx(const struct ga_dns_answer *a)
{
	uint16_t preference;
	char host[256];

	return a->n == 1 && ga_dns_mx(a->rdata[0], &preference, host, sizeof host) && host[0] == '\0';
}

static void
judge_mx(struct rt_lookup *l, const struct ga_dns_answer *a)
{
	struct rt_draft *d = &l->draft;
	int n = (int)l->domain.n;
	const char *p = l->domain.p;

	if (no_answer(a)) {
		end(l, rt_draft_refuse(d, GA_ROUTE_DEFER, 451, "4.4.3", "DNS %s for the MX of %.*s",
		    a != NULL && a->timed_out ? "timed out" : "failed", n, p));
		return;
	}
	rt_draft_ttl(d, a->ttl);
	if (a->rcode == 3) {
		end(l, rt_draft_refuse(d, GA_ROUTE_FAIL, 550, "5.1.2", "the domain %.*s does not exist", n, p));
		return;
	}
	if (null_mx(a)) {
		end(l, rt_draft_refuse(d, GA_ROUTE_FAIL, 556, "5.1.10",
		    "the domain %.*s accepts no mail (null MX)", n, p));
		return;
	}
	if (a->n == 0) {
		l->implicit = true;
		l->ports[0] = 25;
		rt_draft_host(d, l->domain, 0);
	} else {
		take_mx(l, a);
	}
	ask_addresses(l);
}

static void
mx_came(struct ga_worker *w, const struct ga_dns_answer *a, void *arg)
{
	struct rt_lookup *l = arg;

	(void)w;
	judge_mx(l, a);
	settle(l);
}

/* --- what is written: smtp_route, relay, literal --- */

/* "HOST", "HOST:PORT", "192.0.2.1:25", "[2001:db8::1]:25" */
static void
add_written(struct rt_lookup *l, struct ga_str text, uint16_t port, uint16_t preference)
{
	struct ga_sockaddr address;
	struct ga_route_host *h;
	const char *colon;

	if (l->draft.nhosts >= HOSTS_MAX)
		return;
	if (ga_sockaddr_parse(&address, text, port)) {
		char host[GA_SOCKADDR_TEXT];

		h = rt_draft_host(&l->draft, ga_str_c(ga_sockaddr_text(&address, false, host)), preference);
		l->ports[l->draft.nhosts - 1] = ga_sockaddr_port(&address);
		rt_draft_address(&l->draft, h, &address);
		return;
	}
	colon = memrchr(text.p, ':', text.n);
	if (colon != NULL) {
		port = (uint16_t)strtoul(colon + 1, NULL, 10);
		text.n = (size_t)(colon - text.p);
	}
	rt_draft_host(&l->draft, text, preference);
	l->ports[l->draft.nhosts - 1] = port;
}

/* True: the next hop is written, DNS has no say in which it is. */
static bool
written(struct rt_lookup *l, struct ga_snapshot *snap, const struct rt_mta *mta)
{
	const struct route_conf *c = ga_settings_conf(l->draft.route->settings, "route");

	if (c->smtp_route.n > 0) {
		for (size_t i = 0; i < c->smtp_route.n; i++)
			add_written(l, c->smtp_route.v[i], 25, (uint16_t)i);
		return true;
	}
	if (mta->relay) {
		c = ga_settings_conf(ga_snapshot_object(snap, mta->object), "route");
		add_written(l, c->destination, (uint16_t)c->port, 0);
		return true;
	}
	return false;
}

/* [192.0.2.1], [IPv6:2001:db8::1] */
static bool
literal(struct rt_lookup *l)
{
	struct ga_str s = l->domain;
	struct ga_sockaddr address;
	char text[80];
	struct ga_route_host *h;

	if (s.n < 3 || s.p[0] != '[' || s.p[s.n - 1] != ']')
		return false;
	s = (struct ga_str){ s.p + 1, s.n - 2 };
	if (s.n > 5 && ga_str_caseeq((struct ga_str){ s.p, 5 }, GA_STR("ipv6:")))
		snprintf(text, sizeof text, "[%.*s]", (int)(s.n - 5), s.p + 5);
	else
		snprintf(text, sizeof text, "%.*s", (int)s.n, s.p);
	/* a port is no part of a literal: mail must not reach what listens elsewhere */
	if (ga_sockaddr_parse(&address, ga_str_c(text), 25) && ga_sockaddr_port(&address) == 25 &&
	    (address.u.sa.sa_family == AF_INET) == (memchr(s.p, ':', s.n) == NULL)) {
		h = rt_draft_host(&l->draft, l->domain, 0);
		if (!impossible(&address) && (l->allow_loopback || !loopback(&address)))
			rt_draft_address(&l->draft, h, &address);
		else
			l->dropped_bad = true;
	}
	return true;
}

static void
choose_families(struct rt_lookup *l)
{
	const struct ga_route *r = l->draft.route;
	bool any = r->v4.address.len > 0 || r->v6.address.len > 0;

	l->v4 = r->v4.address.len > 0 || !any;
	l->v6 = r->v6.address.len > 0 || (!any && rt_have_ipv6());
}

/* delivery_override: what an attempt comes to without SMTP; NULL: it is tried. */
static struct ga_route *
overridden(struct rt_lookup *l, const struct route_conf *c)
{
	static const struct { enum ga_route_kind kind; unsigned code; const char *enhanced, *text; } said[] = {
		[1] = { GA_ROUTE_DISCARD, 250, "2.0.0", "Discarded unsent (delivery_override)." },
		[2] = { GA_ROUTE_DEFER, 451, "4.3.2", "Deferred without an attempt (delivery_override)." },
		[3] = { GA_ROUTE_FAIL, 550, "5.7.1", "Not delivered (delivery_override)." },
	};

	if (c->delivery_override == 0)
		return NULL;
	l->draft.route->cause = "delivery_override";
	return rt_draft_refuse(&l->draft, said[c->delivery_override].kind, said[c->delivery_override].code,
	    said[c->delivery_override].enhanced, "%s", c->delivery_override_text.n > 0 ?
	    c->delivery_override_text.p : said[c->delivery_override].text);
}

struct rt_lookup *
rt_lookup_start(struct rt_loop *loop, struct ga_snapshot *snap, const struct rt_mta *mta,
    struct ga_str domain, rt_lookup_fn *done, void *arg)
{
	const struct route_conf *general = ga_settings_conf(ga_snapshot_general(snap), "route"), *c;
	struct rt_lookup *l = ga_xcalloc(1, sizeof *l);
	struct ga_route *route;

	l->loop = loop;
	l->done = done;
	l->arg = arg;
	l->allow_loopback = general->allow_loopback_mx;
	rt_draft_begin(&l->draft, snap, mta, domain);
	l->domain = l->draft.route->domain;
	choose_families(l);
	c = ga_settings_conf(l->draft.route->settings, "route");
	l->blacklist = c->mx_blacklist;
	if (mta->paused) {
		end(l, rt_draft_refuse(&l->draft, GA_ROUTE_PAUSED, 451, "4.3.2", "Delivery paused."));
	} else if ((route = overridden(l, c)) != NULL) {
		end(l, route);
	} else if (written(l, snap, mta)) {
		ask_addresses(l);
	} else if (literal(l)) {
		l->from_dns = true;
		complete(l);
	} else if (loop->resolver == NULL) {
		end(l, rt_draft_refuse(&l->draft, GA_ROUTE_DEFER, 451, "4.4.3", "no resolver"));
	} else {
		l->from_dns = true;
		loop->resolver->ask(loop->worker, l->domain, GA_DNS_MX, mx_came, l);
	}
	if (!l->ended)
		return l;
	free(l);
	return NULL;
}
