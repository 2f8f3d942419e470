/*
 * route.c - the module: answers "where next" from what is known, or looks it up.
 *
 * Each loop keeps the routes that it has used, by VirtualMTA and domain, until
 * DNS says that they are old (six minutes at most) or a reload makes them
 * worthless.  Questions for a route that is being looked up wait for it.  A known
 * route is answered inside the call: the common case costs two look-ups.
 *
 * The hook `route` runs on every answer, after the cache, when somebody listens.
 */
#include <stdlib.h>
#include <string.h>

#include "route.h"

#define ROUTES_MAX 50000	/* a loop */
#define HOPS_MAX 8		/* a module may send an attempt on this often */

struct ga_inst *rt_inst;

#define GA_CF_SELF_ struct route_conf
GA_CONF_SCHEMA(route_conf, ROUTE_DIRECTIVES);

/* --- the routes of a loop --- */

static void
drop_entry(struct rt_loop *l, struct rt_entry *e)
{
	HASH_DEL(l->entries, e);
	ga_route_unref(e->route);
	free(e);
}

static void
make_room(struct rt_loop *l)
{
	struct rt_entry *e, *tmp;

	if (HASH_COUNT(l->entries) < ROUTES_MAX)
		return;
	HASH_ITER(hh, l->entries, e, tmp)
		if (e->route != NULL) {
			drop_entry(l, e);
			return;
		}
}

/* Called for each new one: what nobody asks for any more goes about as fast as others come. */
static void
drop_old(struct rt_loop *l)
{
	struct rt_entry *e = l->entries;

	for (int i = 0; i < 2 && e != NULL && e->route != NULL && e->route->expires_ms < ga_now_ms(l->worker); i++) {
		drop_entry(l, e);
		e = l->entries;
	}
}

static struct ga_snapshot *
snapshot_now(struct rt_loop *l)
{
	struct ga_snapshot *now = ga_snapshot_current();

	if (l->snapshot == now) {
		ga_snapshot_unref(now);
		return l->snapshot;
	}
	rt_forget_all(l);
	ga_snapshot_unref(l->snapshot);
	l->snapshot = now;
	return now;
}

/* --- answering --- */

static bool ask(struct rt_loop *, struct ga_str mta, struct ga_route_request *);

static struct ga_route *
refused_by_hook(struct ga_route *route, enum ga_verdict verdict, const struct ga_reply *reply)
{
	struct rt_mta mta = { route->mta, route->virtual_mta, route->mta_id, route->relay, false, route->mta_id };
	bool fail = verdict == GA_REJECT;
	struct rt_draft d;

	rt_draft_begin(&d, route->snapshot, &mta, route->domain);
	if (reply->code != 0)
		return rt_draft_refuse(&d, fail ? GA_ROUTE_FAIL : GA_ROUTE_DEFER, reply->code,
		    ga_dup(d.pool, ga_str_c(reply->enhanced)).p, "%s", reply->text);
	return rt_draft_refuse(&d, fail ? GA_ROUTE_FAIL : GA_ROUTE_DEFER, fail ? 550 : 451,
	    fail ? "5.7.1" : "4.7.1", "refused by a module");
}

/* True: the answer stands in the request. False: another route is being looked up. */
static bool
hook_verdict(struct rt_loop *l, struct ga_route_request *req, enum ga_verdict verdict)
{
	struct rt_wait *wait = req->private_;
	struct ga_route *route = req->route;

	if (verdict == GA_ACCEPT && wait->run.route[0] != '\0' && wait->hops++ < HOPS_MAX) {
		memcpy(wait->mta, wait->run.route, sizeof wait->mta);
		wait->run.route[0] = '\0';
		req->route = NULL;
		ga_route_unref(route);
		return ask(l, ga_str_c(wait->mta), req);
	}
	if (verdict == GA_TEMPFAIL || verdict == GA_REJECT) {
		req->route = refused_by_hook(route, verdict, &wait->run.reply);
		ga_route_unref(route);
	}
	return true;
}

static void
wait_free(struct ga_route_request *req)
{
	struct rt_wait *wait = req->private_;

	req->private_ = NULL;
	if (wait == NULL)
		return;
	*wait->prev = wait->after;
	if (wait->after != NULL)
		wait->after->prev = wait->prev;
	free(wait);
}

static void
give(struct rt_loop *l, struct ga_route_request *req)
{
	wait_free(req);
	req->cb(l->worker, req);
}

static void
hook_answered(struct ga_run *run, enum ga_verdict verdict, void *arg)
{
	struct ga_route_request *req = arg;
	struct rt_loop *l = ga_worker_state(rt_inst, run->worker);

	if (hook_verdict(l, req, verdict))
		give(l, req);
}

static struct rt_wait *
wait_of(struct rt_loop *l, struct ga_route_request *req)
{
	struct rt_wait *wait = req->private_;

	if (wait != NULL)
		return wait;
	wait = req->private_ = ga_xcalloc(1, sizeof *wait);
	wait->request = req;
	wait->after = l->waits;
	wait->prev = &l->waits;
	if (wait->after != NULL)
		wait->after->prev = &wait->after;
	l->waits = wait;
	return wait;
}

/* The request has its route.  True: it is answered. */
static bool
answer(struct rt_loop *l, struct ga_route_request *req)
{
	const struct ga_route *route = req->route;
	struct rt_wait *wait;
	enum ga_verdict verdict;

	if (!GA_WANTED(ga_settings_plan(route->settings), route))
		return true;
	wait = wait_of(l, req);
	wait->ev = (struct ga_ev_route){ route->virtual_mta, route->domain, route->group_key,
	    req->envelope_id };
	wait->run.worker = l->worker;
	wait->run.settings = route->settings;
	wait->run.object_id = req->envelope_id;
	wait->run.done = hook_answered;
	wait->run.arg = req;
	verdict = ga_run_hook(&wait->run, GA_HOOK_route, &wait->ev);
	return verdict != GA_SUSPENDED_ && hook_verdict(l, req, verdict);
}

static void
found_free(struct rt_found *f)
{
	*f->prev = f->next;
	if (f->next != NULL)
		f->next->prev = f->prev;
	free(f);
}

/* --- many who waited for one route --- */

struct rt_rest {
	struct ga_post post;
	struct rt_loop *loop;
	struct ga_route_request *first;
	struct ga_route *route;
	LIST_ENTRY(rt_rest) link;
};

/* The rest of them. */
static struct ga_route_request *
answer_some(struct rt_loop *l, struct ga_route_request *first, struct ga_route *route)
{
	for (unsigned n = 0; first != NULL && n < RT_ANSWER_SLICE; n++) {
		struct ga_route_request *req = first;

		first = wait_of(l, req)->next;
		req->route = ga_route_ref(route);
		if (answer(l, req))
			give(l, req);
	}
	return first;
}

static void
rest_free(struct rt_rest *r)
{
	LIST_REMOVE(r, link);
	ga_route_unref(r->route);
	free(r);
}

static void
answer_rest(struct ga_worker *w, struct ga_post *post)
{
	struct rt_rest *r = GA_CONTAINER(post, struct rt_rest, post);

	r->first = answer_some(r->loop, r->first, r->route);
	if (r->first != NULL)
		ga_loop_post(w, &r->post);
	else
		rest_free(r);
}

static void
answer_all(struct rt_loop *l, struct ga_route_request *first, struct ga_route *route)
{
	struct rt_rest *r;

	first = answer_some(l, first, route);
	if (first == NULL)
		return;
	r = ga_xcalloc(1, sizeof *r);
	*r = (struct rt_rest){ .post = { .fn = answer_rest }, .loop = l, .first = first, .route = ga_route_ref(route) };
	LIST_INSERT_HEAD(&l->rests, r, link);
	ga_loop_post(l->worker, &r->post);
}

static void
looked_up(void *arg, struct ga_route *route)
{
	struct rt_found *f = arg;
	struct rt_loop *l = f->loop;
	struct rt_entry *e = f->entry;
	struct ga_route_request *first = e->waiting;

	e->waiting = e->waiting_last = NULL;
	if (e->gone)
		free(e);
	else
		e->route = ga_route_ref(route);
	answer_all(l, first, route);
	ga_route_unref(route);
	found_free(f);
}

static void
start_lookup(struct rt_loop *l, struct rt_entry *e, const struct rt_mta *mta, struct ga_str domain)
{
	struct rt_found *f = ga_xcalloc(1, sizeof *f);
	struct rt_lookup *lookup;

	f->loop = l;
	f->entry = e;
	f->next = l->asking;
	f->prev = &l->asking;
	if (f->next != NULL)
		f->next->prev = &f->next;
	l->asking = f;
	lookup = rt_lookup_start(l, l->snapshot, mta, domain, looked_up, f);
	if (lookup != NULL)
		f->lookup = lookup;
}

static struct rt_entry *
entry_of(struct rt_loop *l, struct ga_str mta, struct ga_str domain)
{
	char key[1024];
	size_t n = mta.n + 1 + domain.n;
	struct rt_entry *e;

	if (n > sizeof key)
		return NULL;
	memcpy(key, mta.p, mta.n);
	key[mta.n] = '\0';
	memcpy(key + mta.n + 1, domain.p, domain.n);
	HASH_FIND(hh, l->entries, key, n, e);
	if (e != NULL && e->route != NULL && e->route->expires_ms < ga_now_ms(l->worker)) {
		drop_entry(l, e);
		e = NULL;
	}
	if (e != NULL)
		return e;
	drop_old(l);
	make_room(l);
	e = ga_xcalloc(1, sizeof *e + n);
	e->nkey = n;
	memcpy(e->key, key, n);
	HASH_ADD_KEYPTR(hh, l->entries, e->key, n, e);
	return e;
}

static bool
ask(struct rt_loop *l, struct ga_str name, struct ga_route_request *req)
{
	struct ga_snapshot *snap = snapshot_now(l);
	struct rt_mta mta = rt_mta_choose(snap, name, req, NULL);
	struct rt_entry *e = entry_of(l, mta.name, req->domain);

	if (req->assigned_mta_id == 0)		/* a module's choice comes later */
		req->assigned_mta_id = mta.assigned_id;
	if (e == NULL) {
		struct rt_draft d;

		rt_draft_begin(&d, snap, &mta, req->domain);
		req->route = rt_draft_refuse(&d, GA_ROUTE_FAIL, 553, "5.1.3", "domain name too long");
		return true;
	}
	if (e->route != NULL) {
		req->route = ga_route_ref(e->route);
		return answer(l, req);
	}
	if (!e->asked) {
		e->asked = true;
		start_lookup(l, e, &mta, req->domain);
		if (e->route != NULL) {		/* nothing had to be asked */
			req->route = ga_route_ref(e->route);
			return answer(l, req);
		}
	}
	wait_of(l, req)->next = NULL;
	if (e->waiting_last != NULL)
		wait_of(l, e->waiting_last)->next = req;
	else
		e->waiting = req;
	e->waiting_last = req;
	return false;
}

static bool
route(struct ga_worker *w, struct ga_route_request *req)
{
	req->route = NULL;
	req->private_ = NULL;
	req->assigned_mta_id = 0;
	if (!ask(ga_worker_state(rt_inst, w), req->virtual_mta, req))
		return false;
	wait_free(req);
	return true;
}

static const struct ga_router service = { sizeof service, GA_ROUTER_VERSION, route, rt_explain, rt_mta_known };

/* --- the module --- */

static bool
check(const void *conf, struct ga_diag *diag)
{
	struct ga_snapshot *snap = ga_snapshot_current();
	bool good = rt_mta_check(snap, diag);

	good = rt_number_check(snap, diag) && good;

	(void)conf;
	ga_snapshot_unref(snap);
	return good;
}

static bool
init(struct ga_inst *inst, const void *conf)
{
	(void)conf;
	rt_inst = inst;
	rt_own_init();
	ga_service_provide(inst, GA_ROUTER_SERVICE, GA_ROUTER_VERSION, &service);
	return true;
}

static bool
start(struct ga_inst *inst, struct ga_worker *w)
{
	struct rt_loop *l = ga_worker_state(inst, w);

	l->worker = w;
	l->resolver = ga_service_get(GA_RESOLVER_SERVICE, GA_RESOLVER_VERSION);
	return true;
}

static bool
reload(struct ga_inst *inst, const void *conf)
{
	(void)inst;
	(void)conf;
	rt_own_init();
	return true;
}

/* A loop with nothing to route must not keep the old configuration alive. */
static void
reloaded(struct ga_inst *inst, struct ga_worker *w)
{
	snapshot_now(ga_worker_state(inst, w));
}

static void
stop(struct ga_inst *inst, struct ga_worker *w)
{
	struct rt_loop *l = ga_worker_state(inst, w);
	struct rt_entry *e, *tmp;

	/* requests are their askers': they are not answered any more */
	while (l->waits != NULL) {
		ga_run_cancel(&l->waits->run, GA_WHY_DRAIN);
		wait_free(l->waits->request);
	}
	while (l->asking != NULL) {
		rt_lookup_free(l->asking->lookup);
		if (l->asking->entry->gone)
			free(l->asking->entry);
		found_free(l->asking);
	}
	rt_explain_stop(l);
	while (!LIST_EMPTY(&l->rests))
		rest_free(LIST_FIRST(&l->rests));
	rt_forget_stop(l);
	HASH_ITER(hh, l->entries, e, tmp)
		drop_entry(l, e);
	ga_snapshot_unref(l->snapshot);
	l->snapshot = NULL;
}

static void
fini(struct ga_inst *inst)
{
	(void)inst;
	rt_own_free();
	rt_explain_end();
}

GA_MODULE(route, "1.0.0", "", GA_NO_HOOKS, ROUTE_DIRECTIVES,
	.summary = "Finds where an envelope goes next: VirtualMTA, hosts, throttle group",
	.conf = &route_conf_schema,
	.flags = GA_KEEP_INSTANCE,
	.worker_size = sizeof(struct rt_loop),
	.check = check,
	.init = init,
	.start = start,
	.reload = reload,
	.reloaded = reloaded,
	.stop = stop,
	.fini = fini);
