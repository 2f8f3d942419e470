/*
 * dns.c - service "resolver": the questions and cached answers of each loop.
 *
 * Called by modules on their loops.  Each loop has a table of its own, so a hit
 * costs no lock and no other thread: an entry is a (name, type) that was asked,
 * with its answer or the request that is under way for it.  Questions for what is
 * already being asked wait at that entry.  Between loops libunbound's own cache
 * and coalescing do the same.
 *
 * Answers are kept for their TTL, at most an hour (no data, no name: a quarter of
 * an hour; failures: five seconds, so that a broken zone is not asked for every
 * message).  ENTRIES_MAX answers a loop; the one used longest ago goes first.
 *
 * A question has a deadline of its own.  When it passes, the request stays under
 * way: a late answer is still worth caching, and no second request is made.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unbound.h>

#include "conf/core_schema.h"
#include "loop/loop.h"
#include "net/dns.h"

#include <greenarrow/run.h>

enum { ENTRIES_MAX = 8192, BUCKETS = 8192, NAME_ROOM = 254 };
enum { TTL_MAX = 3600, TTL_MAX_NEGATIVE = 900, TTL_FAILURE = 5 };

struct entry;

struct ga_dns_question {
	LIST_ENTRY(ga_dns_question) waiting;	/* at entry, or in the loop's `posted` */
	TAILQ_ENTRY(ga_dns_question) deadline;	/* of the loop; while entry is set */
	struct ga_post post;		/* when the answer was there at once, or cancelled */
	struct ga_worker *worker;
	struct entry *entry;		/* waits here; NULL: post is under way */
	struct dns_blob *blob;		/* to be given by post; NULL: cancelled */
	uint64_t until_us;
	ga_dns_fn *fn;
	void *arg;
};

LIST_HEAD(waiting, ga_dns_question);

struct entry {
	LIST_ENTRY(entry) bucket;
	TAILQ_ENTRY(entry) lru;		/* only while nothing is under way */
	struct dns_request request;
	bool under_way;
	struct dns_blob *blob;		/* NULL: none yet */
	uint64_t fresh_until_us;
	uint64_t asked_us;		/* when it went under way */
	struct waiting waiting;
	size_t n;
	char name[];
};

struct table {
	struct ga_worker *worker;
	LIST_HEAD(, entry) bucket[BUCKETS];
	TAILQ_HEAD(lru_head_, entry) lru;	/* first: used last */
	unsigned answers;
	TAILQ_HEAD(, ga_dns_question) deadlines;	/* all that wait */
	struct waiting posted;
	struct ev_timer timer;
	_Atomic uint64_t questions, resolved, resolve_us;	/* since the start */
};

static struct {
	struct ub_ctx *ctx;		/* made, the thread not yet started */
	char *servers;			/* as configured, one a line */
	struct table *tables;
	unsigned count;
	uint32_t timeout_ms;
} dns = { .timeout_ms = 10000 };

static struct table *table_of(struct ga_worker *w)
{
	return &dns.tables[ga_worker_index(w)];
}

static void count(_Atomic uint64_t *counter, uint64_t by)
{
	atomic_fetch_add_explicit(counter, by, memory_order_relaxed);
}

/* --- answering --- */

static void finish(struct ga_dns_question *q, const struct ga_dns_answer *answer)
{
	GAC_CALL(q->worker, q->fn, q->worker, answer, q->arg);
	free(q);
}

static void stop_waiting(struct ga_dns_question *q)
{
	LIST_REMOVE(q, waiting);
	TAILQ_REMOVE(&table_of(q->worker)->deadlines, q, deadline);
	q->entry = NULL;
}

static void posted(struct ga_worker *w, struct ga_post *post)
{
	struct ga_dns_question *q = GA_CONTAINER(post, struct ga_dns_question, post);
	struct dns_blob *blob = q->blob;

	(void)w;
	LIST_REMOVE(q, waiting);
	finish(q, blob != NULL ? &blob->answer : NULL);
	gac_dns_blob_unref(blob);
}

/* Answers q from the loop, not from inside the caller; blob NULL: cancelled. */
static void answer_later(struct ga_dns_question *q, struct dns_blob *blob)
{
	q->blob = blob;
	if (blob != NULL)
		blob->refs++;
	q->post.fn = posted;
	LIST_INSERT_HEAD(&table_of(q->worker)->posted, q, waiting);
	ga_loop_post(q->worker, &q->post);
}

static void answer_waiting(struct entry *e, struct dns_blob *blob)
{
	struct waiting all = LIST_HEAD_INITIALIZER(all);
	struct ga_dns_question *q;

	/* What is asked from inside a callback waits for the next answer. */
	while ((q = LIST_FIRST(&e->waiting)) != NULL) {
		LIST_REMOVE(q, waiting);
		LIST_INSERT_HEAD(&all, q, waiting);
	}
	blob->refs++;
	while ((q = LIST_FIRST(&all)) != NULL) {
		stop_waiting(q);
		finish(q, &blob->answer);
	}
	gac_dns_blob_unref(blob);
}

static void set_timer(struct table *t)
{
	struct ga_dns_question *q = TAILQ_FIRST(&t->deadlines);
	struct ev_loop *ev = gac_loop_ev(t->worker);
	uint64_t now = ga_mono_us();

	ev_timer_stop(ev, &t->timer);
	if (q == NULL)
		return;
	ev_timer_set(&t->timer, q->until_us > now ? (double)(q->until_us - now) / 1e6 : 0., 0.);
	ev_timer_start(ev, &t->timer);
}

/* Questions whose time is over by then have no answer. */
static void give_up(struct table *t, uint64_t until_us)
{
	static const struct ga_dns_answer none = { .rcode = 2, .timed_out = true };
	struct ga_dns_question *q;

	while ((q = TAILQ_FIRST(&t->deadlines)) != NULL && q->until_us <= until_us) {
		stop_waiting(q);
		finish(q, &none);
	}
	set_timer(t);
}

static void time_passed(struct ev_loop *ev, struct ev_timer *timer, int revents)
{
	(void)ev;
	(void)revents;
	give_up(timer->data, ga_mono_us());
}

void gac_dns_give_up(struct ga_worker *w)
{
	give_up(table_of(w), UINT64_MAX);
}

/* --- entries --- */

static uint32_t bucket_of(struct ga_str name, unsigned rrtype)
{
	return (ga_str_hash(name, false) ^ rrtype * 2654435761u) % BUCKETS;
}

static struct entry *find(struct table *t, struct ga_str name, unsigned rrtype)
{
	struct entry *e;

	LIST_FOREACH(e, &t->bucket[bucket_of(name, rrtype)], bucket)
		if (e->request.rrtype == rrtype && e->n == name.n && memcmp(e->name, name.p, name.n) == 0)
			return e;
	return NULL;
}

static void drop(struct table *t, struct entry *e)
{
	if (!e->under_way) {
		TAILQ_REMOVE(&t->lru, e, lru);
		t->answers--;
	}
	LIST_REMOVE(e, bucket);
	gac_dns_blob_unref(e->blob);
	free(e);
}

static uint32_t keep_seconds(const struct ga_dns_answer *a)
{
	uint32_t most = a->n > 0 ? TTL_MAX : TTL_MAX_NEGATIVE;

	if (a->rcode != 0 && a->rcode != 3)
		return TTL_FAILURE;
	return a->ttl < most ? a->ttl : most;
}

static void request_answered(struct ga_worker *w, struct ga_post *post)
{
	struct dns_request *r = GA_CONTAINER(post, struct dns_request, post);
	struct entry *e = GA_CONTAINER(r, struct entry, request);
	struct table *t = table_of(w);

	count(&t->resolved, 1);
	count(&t->resolve_us, ga_mono_us() - e->asked_us);
	e->under_way = false;
	gac_dns_blob_unref(e->blob);
	e->blob = r->blob;
	r->blob = NULL;
	e->fresh_until_us = ga_mono_us() + keep_seconds(&e->blob->answer) * UINT64_C(1000000);
	TAILQ_INSERT_HEAD(&t->lru, e, lru);
	if (++t->answers > ENTRIES_MAX)
		drop(t, TAILQ_LAST(&t->lru, lru_head_));
	answer_waiting(e, e->blob);
	set_timer(t);
}

static struct entry *new_entry(struct table *t, struct ga_str name, unsigned rrtype)
{
	struct entry *e = ga_xcalloc(1, sizeof(*e) + name.n + 1);

	memcpy(e->name, name.p, name.n);
	e->n = name.n;
	e->request.name = e->name;
	e->request.rrtype = rrtype;
	e->request.worker = t->worker;
	e->request.post.fn = request_answered;
	LIST_INIT(&e->waiting);
	LIST_INSERT_HEAD(&t->bucket[bucket_of(name, rrtype)], e, bucket);
	return e;
}

static void request(struct table *t, struct entry *e)
{
	if (e->blob != NULL) {
		TAILQ_REMOVE(&t->lru, e, lru);
		t->answers--;
	}
	e->under_way = true;
	e->asked_us = ga_mono_us();
	gac_dns_thread_ask(&e->request);
}

static void wait_at(struct table *t, struct entry *e, struct ga_dns_question *q)
{
	q->entry = e;
	q->until_us = ga_mono_us() + dns.timeout_ms * UINT64_C(1000);
	LIST_INSERT_HEAD(&e->waiting, q, waiting);
	TAILQ_INSERT_TAIL(&t->deadlines, q, deadline);
	if (TAILQ_FIRST(&t->deadlines) == q)
		set_timer(t);
}

/* --- the service --- */

/* Lower case, no trailing dot.  False: no name of DNS can be written so. */
static bool normalise(struct ga_str in, char out[NAME_ROOM], struct ga_str *name)
{
	size_t label = 0;

	if (in.n > 1 && in.p[in.n - 1] == '.')
		in.n--;
	if (in.n == 0 || in.n >= NAME_ROOM)
		return false;
	for (size_t i = 0; i < in.n; i++) {
		unsigned char c = (unsigned char)in.p[i];

		label = c == '.' ? 0 : label + 1;
		if (c <= 32 || c >= 127 || c == '\\' || label > 63 || (label == 0 && (i == 0 || in.p[i - 1] == '.')))
			return false;
		out[i] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
	}
	*name = (struct ga_str){ out, in.n };
	return true;
}

static void answer_no_such_name(struct ga_dns_question *q)
{
	struct dns_blob *blob = ga_xcalloc(1, sizeof(*blob));

	blob->answer.rcode = 3;
	answer_later(q, blob);		/* takes the only reference */
}

static struct ga_dns_question *ask(struct ga_worker *w, struct ga_str text, unsigned rrtype,
    ga_dns_fn *fn, void *arg)
{
	struct table *t = table_of(w);
	struct ga_dns_question *q = ga_xcalloc(1, sizeof(*q));
	char lower[NAME_ROOM];
	struct ga_str name;
	struct entry *e;

	count(&t->questions, 1);
	q->worker = w;
	q->fn = fn;
	q->arg = arg;
	if (!normalise(text, lower, &name)) {
		answer_no_such_name(q);
		return q;
	}
	e = find(t, name, rrtype);
	if (e == NULL)
		e = new_entry(t, name, rrtype);
	if (!e->under_way && e->blob != NULL && ga_mono_us() < e->fresh_until_us) {
		TAILQ_REMOVE(&t->lru, e, lru);
		TAILQ_INSERT_HEAD(&t->lru, e, lru);
		answer_later(q, e->blob);
		return q;
	}
	wait_at(t, e, q);
	if (!e->under_way)
		request(t, e);
	return q;
}

static void cancel(struct ga_dns_question *q)
{
	if (q->entry != NULL) {
		stop_waiting(q);
		answer_later(q, NULL);
		return;
	}
	gac_dns_blob_unref(q->blob);
	q->blob = NULL;
}

static const struct ga_resolver resolver = {
	.size = sizeof(struct ga_resolver),
	.version = GA_RESOLVER_VERSION,
	.ask = ask,
	.cancel = cancel,
};

/* --- life --- */

struct gac_dns_counts gac_dns_counts(void)
{
	struct gac_dns_counts c = { 0, 0, 0 };

	for (unsigned i = 0; i < dns.count; i++) {
		c.questions += atomic_load_explicit(&dns.tables[i].questions, memory_order_relaxed);
		c.resolved += atomic_load_explicit(&dns.tables[i].resolved, memory_order_relaxed);
		c.resolve_us += atomic_load_explicit(&dns.tables[i].resolve_us, memory_order_relaxed);
	}
	return c;
}

void gac_dns_timeout(uint32_t ms)
{
	dns.timeout_ms = ms;
}

static void init_table(struct table *t, struct ga_worker *w)
{
	t->worker = w;
	TAILQ_INIT(&t->lru);
	TAILQ_INIT(&t->deadlines);
	ev_timer_init(&t->timer, time_passed, 0., 0.);
	t->timer.data = t;
}

static char *servers_text(const struct gac_core_conf *core)
{
	size_t room = 1, n = 0;
	char *text;

	for (size_t i = 0; i < core->dns_server.n; i++)
		room += core->dns_server.v[i].n + 1;
	text = ga_xmalloc(room);
	for (size_t i = 0; i < core->dns_server.n; i++) {
		memcpy(text + n, core->dns_server.v[i].p, core->dns_server.v[i].n);
		n += core->dns_server.v[i].n;
		text[n++] = '\n';
	}
	text[n] = 0;
	return text;
}

bool gac_dns_init(const struct gac_core_conf *core, char *err, size_t errlen)
{
	dns.ctx = gac_dns_context(core->dns_server, err, errlen);
	if (dns.ctx == NULL)
		return false;
	dns.servers = servers_text(core);
	dns.count = ga_worker_count() + 1;
	dns.tables = ga_xcalloc(dns.count, sizeof(*dns.tables));
	for (unsigned i = 0; i < dns.count; i++)
		init_table(&dns.tables[i], i + 1 < dns.count ? ga_worker_get(i) : ga_worker_main());
	ga_service_provide(NULL, GA_RESOLVER_SERVICE, GA_RESOLVER_VERSION, &resolver);
	return true;
}

void gac_dns_start(void)
{
	if (dns.ctx == NULL)
		return;
	if (!gac_dns_thread_start(dns.ctx)) {
		fprintf(stderr, "cannot start the resolver thread\n");
		exit(1);
	}
	dns.ctx = NULL;
}

bool gac_dns_reload(const struct gac_core_conf *core, char *err, size_t errlen)
{
	char *servers = servers_text(core);
	struct ub_ctx *ctx;

	if (strcmp(servers, dns.servers) == 0) {
		free(servers);
		return true;
	}
	ctx = gac_dns_context(core->dns_server, err, errlen);
	if (ctx == NULL) {
		free(servers);
		return false;
	}
	free(dns.servers);
	dns.servers = servers;
	gac_dns_thread_context(ctx);
	return true;
}

static void free_table(struct table *t)
{
	struct ga_dns_question *q;
	struct entry *e;

	ev_timer_stop(gac_loop_ev(t->worker), &t->timer);
	while ((q = TAILQ_FIRST(&t->deadlines)) != NULL) {
		stop_waiting(q);
		free(q);
	}
	while ((q = LIST_FIRST(&t->posted)) != NULL) {
		LIST_REMOVE(q, waiting);
		gac_dns_blob_unref(q->blob);
		free(q);
	}
	for (unsigned i = 0; i < BUCKETS; i++)
		while ((e = LIST_FIRST(&t->bucket[i])) != NULL) {
			gac_dns_blob_unref(e->request.blob);
			drop(t, e);
		}
}

void gac_dns_stop(void)
{
	gac_dns_thread_stop();
	if (dns.ctx != NULL)
		ub_ctx_delete(dns.ctx);
	dns.ctx = NULL;
	for (unsigned i = 0; i < dns.count; i++)
		free_table(&dns.tables[i]);
	free(dns.tables);
	free(dns.servers);
	dns.servers = NULL;
	dns.tables = NULL;
	dns.count = 0;
}
