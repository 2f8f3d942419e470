/*
 * explain.c - the router's part of `greenarrow explain`: where mail goes, and why there.
 *
 * The question is answered on a worker, as an attempt would be, but with a look-up of its own:
 * what is known may be minutes old.  mta.c and lookup.c say what they decide while they
 * decide it; here is said what the route came to.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "route.h"

#define HOSTS_SAID 10

struct rt_explain {
	struct ga_post post;
	struct ga_route_question *q;
	struct rt_loop *loop;
	struct rt_lookup *lookup;		/* NULL: not begun, or done */
	LIST_ENTRY(rt_explain) link;
};

/* All of them, for the stop; a question may come from any loop. */
static LIST_HEAD(, rt_explain) asked = LIST_HEAD_INITIALIZER(asked);
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void
explain_free(struct rt_explain *e)
{
	pthread_mutex_lock(&lock);
	LIST_REMOVE(e, link);
	pthread_mutex_unlock(&lock);
	free(e);
}

void
rt_explain_stop(struct rt_loop *l)
{
	struct rt_explain *e;

	pthread_mutex_lock(&lock);
	LIST_FOREACH(e, &asked, link)
		if (e->loop == l && e->lookup != NULL) {
			rt_lookup_free(e->lookup);
			e->lookup = NULL;
		}
	pthread_mutex_unlock(&lock);
}

/* All loops have ended: nobody is answered any more. */
void
rt_explain_end(void)
{
	while (!LIST_EMPTY(&asked))
		explain_free(LIST_FIRST(&asked));
}

/* --- what the route came to --- */

static void
say_hosts(struct json_object *facts, const struct ga_route *r)
{
	const struct ga_fact fact = { .what = "hosts" };

	for (unsigned i = 0; i < r->nhosts && i < HOSTS_SAID; i++) {
		const struct ga_route_host *h = &r->hosts[i];
		char text[GA_SOCKADDR_TEXT], *all = NULL;
		size_t n = 0;
		FILE *f = open_memstream(&all, &n);

		for (unsigned k = 0; k < h->naddresses; k++)
			fprintf(f, "%s%s", k > 0 ? ", " : "", ga_sockaddr_text(&h->addresses[k], true, text));
		fclose(f);
		if (h->naddresses > 0)
			ga_explain_say(facts, &fact, "Mail host %.*s, preference %u: %s.", (int)h->name.n,
			    h->name.p, h->preference, all);
		else
			ga_explain_say(facts, &fact, "Mail host %.*s, preference %u: no address to use (%s).",
			    (int)h->name.n, h->name.p, h->preference, h->why_none != NULL ? h->why_none : "none");
		free(all);
	}
	if (r->nhosts > HOSTS_SAID)
		ga_explain_say(facts, &fact, "And %u more mail hosts.", r->nhosts - HOSTS_SAID);
}

static void
say_source(struct json_object *facts, const struct ga_route *r, const struct ga_route_source *s)
{
	const struct ga_fact fact = { .what = "smtp_source",
		.where = r->mta != NULL ? ga_settings_where(ga_snapshot_object(r->snapshot, r->mta), "route", "smtp_source") : NULL };
	char text[GA_SOCKADDR_TEXT];

	if (s->address.len > 0)
		ga_explain_say(facts, &fact, "It leaves from %s and says EHLO %.*s.",
		    ga_sockaddr_text(&s->address, false, text), (int)s->hostname.n, s->hostname.p);
}

/* One sentence: the strictest of the settings in force. */
static void
say_tls(struct json_object *facts, const struct ga_settings *settings)
{
	static const struct { const char *field, *text; bool when; } said[] = {
		{ "tls_verify", "TLS with a certificate of the mail host's name is required (tls_verify).", true },
		{ "starttls_require", "STARTTLS is required (starttls_require).", true },
		{ "starttls_use", "TLS is not used (starttls_use no).", false },
		{ "starttls_use", "TLS is used where it is offered (starttls_use).", true },
	};

	for (size_t i = 0; i < sizeof said / sizeof *said; i++)
		if (ga_settings_flag(settings, "smtp_client", said[i].field) == said[i].when) {
			const struct ga_fact fact = { .what = said[i].field,
				.where = ga_settings_where(settings, "smtp_client", said[i].field) };

			ga_explain_say(facts, &fact, "%s", said[i].text);
			return;
		}
}

static void
say_group(struct json_object *facts, const struct ga_route *r)
{
	const char *limit = "";
	const struct ga_object *rule = r->relay ? NULL : rt_number_limiting(r->settings, &limit);
	const struct ga_fact fact = { .what = "throttle_group", .where = rule != NULL ? ga_object_where(rule) : NULL };

	if (rule != NULL)
		ga_explain_say(facts, &fact, "Its throttle group is %.*s: the %s \"%.*s\" sets %s.", (int)r->group_key.n,
		    r->group_key.p, ga_object_context(rule), (int)ga_object_name(rule).n, ga_object_name(rule).p, limit);
	else
		ga_explain_say(facts, &fact, "Its throttle group is %.*s: %s.", (int)r->group_key.n, r->group_key.p,
		    r->relay ? "all mail of a relay server is one group" : "no rule names the domain, which is a group of its own");
}

static void
say_refused(struct json_object *facts, const struct ga_route *r)
{
	const struct ga_fact fact = { .what = r->cause != NULL ? r->cause : "dns", .holds = true,
		.where = r->cause != NULL ? ga_settings_where(r->settings, "route", r->cause) : NULL };

	ga_explain_say(facts, &fact, "An attempt now would be %s: %u %s %s",
	    r->kind == GA_ROUTE_FAIL ? "a failure" : r->kind == GA_ROUTE_DEFER ? "deferred" : "the end of it, unsent",
	    r->code, r->enhanced, r->text);
}

static void
say_route(struct json_object *facts, const struct ga_route *r)
{
	switch (r->kind) {
	case GA_ROUTE_DELIVER:
		say_hosts(facts, r);
		say_source(facts, r, &r->v4);
		say_source(facts, r, &r->v6);
		say_tls(facts, r->settings);
		say_group(facts, r);
		break;
	case GA_ROUTE_DEFER:
	case GA_ROUTE_FAIL:
	case GA_ROUTE_DISCARD:
		say_refused(facts, r);
		break;
	case GA_ROUTE_PAUSED:
		break;		/* said when it was decided */
	}
}

/* --- the question --- */

static void
home(struct ga_worker *w, struct ga_post *post)
{
	struct ga_route_question *q = GA_CONTAINER(post, struct ga_route_question, post);

	q->cb(w, q);
}

static void
looked_up(void *arg, struct ga_route *route)
{
	struct rt_explain *e = arg;
	struct ga_route_question *q = e->q;

	q->route = route;
	say_route(q->facts, route);
	explain_free(e);
	q->post.fn = home;
	ga_loop_post(q->asker, &q->post);
}

static void
say_next_hop(struct json_object *facts, const struct ga_settings *settings, const struct rt_mta *mta,
    struct ga_snapshot *snap)
{
	const struct route_conf *c = ga_settings_conf(settings, "route");
	struct ga_fact fact = { .what = "smtp_route", .where = ga_settings_where(settings, "route", "smtp_route") };

	if (c->smtp_route.n > 0) {
		ga_explain_say(facts, &fact, "The next hop is written (smtp_route): DNS is not asked which it is.");
	} else if (mta->relay) {
		fact.what = "destination";
		fact.where = ga_settings_where(ga_snapshot_object(snap, mta->object), "route", "destination");
		ga_explain_say(facts, &fact, "The next hop is the relay server's destination.");
	}
}

static void
begin(struct ga_worker *w, struct ga_post *post)
{
	struct rt_explain *e = GA_CONTAINER(post, struct rt_explain, post);
	struct ga_route_question *q = e->q;
	struct rt_loop *l = e->loop;
	struct ga_snapshot *snap = ga_snapshot_current();
	struct ga_route_request request = { .virtual_mta = q->virtual_mta, .domain = q->domain,
		.message_key = q->message_key, .address_key = q->address_key };
	struct rt_mta mta = rt_mta_choose(snap, q->virtual_mta, &request, q->facts);
	struct rt_lookup *lookup;

	(void)w;
	if (!mta.paused)
		say_next_hop(q->facts, ga_snapshot_resolve(snap, mta.name, q->domain, NULL, 0), &mta, snap);
	lookup = rt_lookup_start(l, snap, &mta, q->domain, looked_up, e);
	if (lookup != NULL)
		e->lookup = lookup;
	ga_snapshot_unref(snap);
}

void
rt_explain(struct ga_route_question *q)
{
	struct rt_explain *e = ga_xcalloc(1, sizeof *e);
	struct ga_worker *w = ga_worker_index(q->asker) < ga_worker_count() ? q->asker : ga_worker_get(0);

	e->q = q;
	e->loop = ga_worker_state(rt_inst, w);
	e->post.fn = begin;
	pthread_mutex_lock(&lock);
	LIST_INSERT_HEAD(&asked, e, link);
	pthread_mutex_unlock(&lock);
	ga_loop_post(w, &e->post);
}
