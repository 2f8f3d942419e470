/*
 * resolver_fixed.c - a second provider of the service "resolver": answers that
 * are written in the configuration.
 *
 *	dns_answer example.com MX 10 mx.example.com, mx.example.com A 192.0.2.1
 *	dns_answer gone.example MX NXDOMAIN, slow.example MX TIMEOUT, bad.example MX SERVFAIL
 *
 * A name that nothing is written for does not exist when no other record of it is
 * written either, else has no data of that type.  NEVER: no answer comes until the
 * question is cancelled.  Answers are posted; dns_answer_ttl seconds is their TTL.
 */
#define GA_LEVEL GA_ABI_STRICT
#include <arpa/inet.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <greenarrow/service/resolver.h>
#include <greenarrow/run.h>

#include "resolver_fixed.h"

#define RECORDS_MAX 64

#define RESOLVER_FIXED_DIRECTIVES(X)								\
	X(table, dns_answer, "", "words=3-4 repeat", "general",					\
	    "NAME TYPE and an address, or a preference and a host, or what goes wrong")		\
	X(int, dns_answer_ttl, "300", "min=0", "general", "TTL of all answers, in seconds")

GA_CONF_STRUCT(resolver_fixed_conf, RESOLVER_FIXED_DIRECTIVES);
#define GA_CF_SELF_ struct resolver_fixed_conf
GA_CONF_SCHEMA(resolver_fixed_conf, RESOLVER_FIXED_DIRECTIVES);

struct ga_dns_question {
	struct ga_post post;
	struct ga_worker *worker;
	struct ga_pool *pool;
	struct ga_dns_answer answer;
	bool cancelled;
	ga_dns_fn *fn;
	void *arg;
	struct ga_dns_question *next, **prev;	/* not answered yet */
};

static _Atomic unsigned asked;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct ga_dns_question *open_questions;

static struct ga_str
mx_rdata(struct ga_pool *pool, struct ga_str preference, struct ga_str host)
{
	char *p = ga_alloc(pool, host.n + 4);
	unsigned long pref = strtoul(preference.p, NULL, 10);
	size_t n = 2;

	p[0] = (char)(pref >> 8);
	p[1] = (char)pref;
	while (host.n > 0 && !ga_str_eq(host, GA_STR("."))) {
		const char *dot = memchr(host.p, '.', host.n);
		size_t label = dot != NULL ? (size_t)(dot - host.p) : host.n;

		p[n++] = (char)label;
		memcpy(p + n, host.p, label);
		n += label;
		host.p += label + (dot != NULL);
		host.n -= label + (dot != NULL);
	}
	p[n++] = '\0';
	return (struct ga_str){ p, n };
}

static struct ga_str
address_rdata(struct ga_pool *pool, int family, struct ga_str text)
{
	char *p = ga_alloc(pool, 16);

	if (inet_pton(family, ga_cstr(pool, text), p) != 1)
		return (struct ga_str){ p, 0 };
	return (struct ga_str){ p, family == AF_INET ? 4 : 16 };
}

/* True: it is said to go wrong, or to be empty. */
static bool
wrong(struct ga_dns_question *q, struct ga_str word, bool *never)
{
	if (ga_str_eq(word, GA_STR("NXDOMAIN")))
		q->answer.rcode = 3;
	else if (ga_str_eq(word, GA_STR("SERVFAIL")))
		q->answer.rcode = 2;
	else if (ga_str_eq(word, GA_STR("BOGUS")))
		q->answer.bogus = true;
	else if (ga_str_eq(word, GA_STR("TIMEOUT")))
		q->answer.timed_out = true;
	else if (ga_str_eq(word, GA_STR("NEVER")))
		*never = true;
	else
		return ga_str_eq(word, GA_STR("NODATA"));
	return true;
}

static struct ga_str
rdata(struct ga_pool *pool, unsigned rrtype, struct ga_strlist words)
{
	if (rrtype == GA_DNS_MX)
		return mx_rdata(pool, words.v[2], words.n > 3 ? words.v[3] : GA_STR("."));
	return address_rdata(pool, rrtype == GA_DNS_A ? AF_INET : AF_INET6, words.v[2]);
}

/* False: no answer is to come. */
static bool
look_up(struct ga_dns_question *q, struct ga_str name, unsigned rrtype)
{
	struct ga_snapshot *snap = ga_snapshot_current();
	const struct resolver_fixed_conf *c = ga_settings_conf(ga_snapshot_general(snap), "resolver_fixed");
	struct ga_str type = rrtype == GA_DNS_MX ? GA_STR("MX") : rrtype == GA_DNS_A ? GA_STR("A") : GA_STR("AAAA");
	struct ga_str *data = ga_alloc(q->pool, RECORDS_MAX * sizeof *data);
	bool exists = false, never = false;

	q->answer.rdata = data;
	q->answer.ttl = (uint32_t)c->dns_answer_ttl;
	for (size_t i = 0; i < c->dns_answer.n && q->answer.n < RECORDS_MAX; i++) {
		struct ga_strlist words = c->dns_answer.v[i];

		if (!ga_str_caseeq(words.v[0], name))
			continue;
		exists = true;
		if (ga_str_caseeq(words.v[1], type) && !wrong(q, words.v[2], &never))
			data[q->answer.n++] = rdata(q->pool, rrtype, words);
	}
	if (!exists)
		q->answer.rcode = 3;
	ga_snapshot_unref(snap);
	return !never;
}

static void
add_open(struct ga_dns_question *q)
{
	pthread_mutex_lock(&lock);
	q->next = open_questions;
	q->prev = &open_questions;
	if (q->next != NULL)
		q->next->prev = &q->next;
	open_questions = q;
	pthread_mutex_unlock(&lock);
}

static void
take_open(struct ga_dns_question *q)
{
	pthread_mutex_lock(&lock);
	*q->prev = q->next;
	if (q->next != NULL)
		q->next->prev = q->prev;
	pthread_mutex_unlock(&lock);
}

static void
answer(struct ga_worker *w, struct ga_post *post)
{
	struct ga_dns_question *q = GA_CONTAINER(post, struct ga_dns_question, post);

	take_open(q);
	q->fn(w, q->cancelled ? NULL : &q->answer, q->arg);
	ga_pool_free(q->pool);
}

static struct ga_dns_question *
ask(struct ga_worker *w, struct ga_str name, unsigned rrtype, ga_dns_fn *fn, void *arg)
{
	struct ga_pool *pool = ga_pool_new(0);
	struct ga_dns_question *q = ga_alloc(pool, sizeof *q);

	asked++;
	q->pool = pool;
	q->worker = w;
	q->fn = fn;
	q->arg = arg;
	q->post.fn = answer;
	add_open(q);
	if (look_up(q, name, rrtype))
		ga_loop_post(w, &q->post);
	else
		q->post.fn = NULL;
	return q;
}

static void
cancel(struct ga_dns_question *q)
{
	q->cancelled = true;
	if (q->post.fn != NULL)
		return;
	q->post.fn = answer;
	ga_loop_post(q->worker, &q->post);
}

unsigned
resolver_fixed_asked(void)
{
	return asked;
}

static const struct ga_resolver service = { sizeof service, GA_RESOLVER_VERSION, ask, cancel };

static bool
init(struct ga_inst *inst, const void *conf)
{
	(void)conf;
	ga_service_provide(inst, GA_RESOLVER_SERVICE, GA_RESOLVER_VERSION, &service);
	return true;
}

/* No loop runs any more. */
static void
fini(struct ga_inst *inst)
{
	struct ga_dns_question *q;

	(void)inst;
	while ((q = open_questions) != NULL) {
		take_open(q);
		ga_pool_free(q->pool);
	}
}

GA_MODULE(resolver_fixed, "1.0.0", "", GA_NO_HOOKS, RESOLVER_FIXED_DIRECTIVES,
	.summary = "DNS answers written in the configuration, for tests",
	.conf = &resolver_fixed_conf_schema,
	.flags = GA_KEEP_INSTANCE,
	.init = init,
	.fini = fini);
