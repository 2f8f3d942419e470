/*
 * build.c - puts a route together: an immutable object in a pool of its own.
 *
 * The throttle group's key is made here (DESIGN 7): `relay<mta_id>` for a relay;
 * `ip<mta_id>pd<rule>` where a domain block sets the limit that holds,
 * `ip<mta_id>tt<rule>` where a template's rule does; else `<mta_id>,<domain>`.
 * number.c knows which rule that is, and its number.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "route.h"

#define TTL_MAX 360		/* seconds: routes are not kept longer, whatever DNS says */
#define TTL_FAIL 60
#define TTL_DEFER 10
#define ADDRESSES_MAX 100	/* of all hosts of a route */

/* Any thread: the last reference went. */
static void
route_free(struct ga_route *route)
{
	const struct ga_throttle *throttle = ga_service_get(GA_THROTTLE_SERVICE, GA_THROTTLE_VERSION);
	struct ga_snapshot *snapshot = route->snapshot;

	if (route->group != NULL && throttle != NULL)
		throttle->group_unref(route->group);
	ga_pool_free(*(struct ga_pool **)(void *)(route + 1));
	ga_snapshot_unref(snapshot);
}

void
rt_draft_begin(struct rt_draft *d, struct ga_snapshot *snap, const struct rt_mta *mta,
    struct ga_str domain)
{
	struct ga_pool *pool = ga_pool_new(1024);
	struct ga_route *r = ga_alloc(pool, sizeof *r + sizeof pool);

	memset(d, 0, sizeof *d);
	memcpy(r + 1, &pool, sizeof pool);
	d->pool = pool;
	d->route = r;
	d->ttl = TTL_MAX;
	r->refs = 1;
	r->free_ = route_free;
	r->snapshot = ga_snapshot_ref(snap);
	r->domain = ga_dup(pool, domain);
	r->virtual_mta = ga_dup(pool, mta->name);
	r->mta_id = mta->id;
	r->relay = mta->relay;
	r->mta = mta->object;
	r->settings = ga_snapshot_resolve(snap, mta->name, domain, NULL, 0);
	rt_mta_sources(snap, mta, pool, &r->v4, &r->v6);
}

struct ga_route_host *
rt_draft_host(struct rt_draft *d, struct ga_str name, uint16_t preference)
{
	struct ga_route_host *h;

	if (d->nhosts == d->room) {
		unsigned room = d->room > 0 ? d->room * 2 : 4;
		struct ga_route_host *more = ga_alloc(d->pool, room * sizeof *more);

		if (d->nhosts > 0)
			memcpy(more, d->hosts, d->nhosts * sizeof *more);
		d->hosts = more;
		d->room = room;
	}
	h = &d->hosts[d->nhosts++];
	memset(h, 0, sizeof *h);
	h->name = ga_dup(d->pool, name);
	h->preference = preference;
	return h;
}

void
rt_draft_address(struct rt_draft *d, struct ga_route_host *h, const struct ga_sockaddr *a)
{
	struct ga_sockaddr *all;

	if (h->naddresses >= ADDRESSES_MAX)
		return;
	all = ga_alloc(d->pool, (h->naddresses + 1u) * sizeof *all);
	if (h->naddresses > 0)
		memcpy(all, h->addresses, h->naddresses * sizeof *all);
	all[h->naddresses] = *a;
	h->addresses = all;
	h->naddresses++;
}

void
rt_draft_ttl(struct rt_draft *d, uint32_t ttl)
{
	if (ttl < d->ttl)
		d->ttl = ttl;
}

/* --- the group --- */

static struct ga_str
group_key(struct rt_draft *d)
{
	struct ga_route *r = d->route;
	const struct ga_object *rule;
	const char *limit;

	if (r->relay)
		return ga_fmt(d->pool, "relay%u", r->mta_id);
	rule = rt_number_limiting(r->settings, &limit);
	if (rule == NULL)
		return ga_fmt(d->pool, "%u,%.*s", r->mta_id, (int)r->domain.n, r->domain.p);
	return ga_fmt(d->pool, "ip%u%s%u", r->mta_id,
	    rt_number_kind(rule), rt_number_rule(r->snapshot, rule));
}

static int
by_preference(const void *a, const void *b)
{
	const struct ga_route_host *x = a, *y = b;

	return x->preference < y->preference ? -1 : x->preference > y->preference;
}

static struct ga_route *
finish(struct rt_draft *d)
{
	struct ga_route *r = d->route;

	r->group_key = group_key(d);
	r->hash = ga_str_hash(r->group_key, false);
	r->expires_ms = ga_mono_us() / 1000 + (uint64_t)d->ttl * 1000;
	return r;
}

struct ga_route *
rt_draft_deliver(struct rt_draft *d)
{
	struct ga_route *r = d->route;

	qsort(d->hosts, d->nhosts, sizeof *d->hosts, by_preference);
	r->kind = GA_ROUTE_DELIVER;
	r->hosts = d->hosts;
	r->nhosts = d->nhosts;
	if (d->nhosts > 0 && ga_snapshot_wants_mx(r->snapshot, r->virtual_mta)) {
		struct ga_str *names = ga_alloc(d->pool, d->nhosts * sizeof *names);

		for (unsigned i = 0; i < d->nhosts; i++)
			names[i] = d->hosts[i].name;
		r->settings = ga_snapshot_resolve(r->snapshot, r->virtual_mta, r->domain, names, d->nhosts);
	}
	return finish(d);
}

struct ga_route *
rt_draft_refuse(struct rt_draft *d, enum ga_route_kind kind, unsigned code, const char *enhanced,
    const char *fmt, ...)
{
	struct ga_route *r = d->route;
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	r->kind = kind;
	r->code = code;
	r->enhanced = enhanced;
	r->text = ga_dup(d->pool, ga_str_c(text)).p;
	rt_draft_ttl(d, kind == GA_ROUTE_FAIL ? TTL_FAIL : TTL_DEFER);
	return finish(d);
}
