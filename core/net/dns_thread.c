/*
 * dns_thread.c - the resolver thread: libunbound's only caller.
 *
 * Loops push requests on a lock-free stack and ring an eventfd; the thread asks
 * libunbound, whose answers come through its own descriptor, copies each answer
 * and posts it to the loop that asked.  The thread exists because libunbound's
 * calls may wait (for locks, for its pipe), and a loop may not.
 *
 * libunbound runs on libevent, and libev exports functions of the same names.  We
 * are linked with libevent first and look, when we start, that it came out so.
 *
 * Owns the context and every request that is under way.  At most OUTSTANDING are
 * with libunbound at once, the others wait in line here.  A new context (reload)
 * gets all of them again.
 */
#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unbound.h>
#include <unistd.h>

#include "module/log.h"
#include "net/dns.h"

/* Each may hold a socket; a name server that is slow must not take them all from
 * the deliveries. */
enum { OUTSTANDING = 1024, RDATA_MAX = 256 * 1024 };

struct list {
	struct dns_request *first, **end;
};

static struct {
	pthread_t thread;
	bool running;
	int wake;
	struct ub_ctx *ctx;			/* the thread's */
	_Atomic(struct ub_ctx *) next_ctx;
	_Atomic(struct dns_request *) asked;	/* newest first */
	_Atomic bool end;
	struct list waiting;			/* the thread's: not yet asked */
	struct dns_request *under_way;		/* the thread's */
	unsigned count;				/* of under_way */
} d = { .wake = -1 };

/* --- the context --- */

struct option {
	const char *name, *value;
};

static const struct option options[] = {
	{ "do-not-query-localhost:", "no" },	/* a resolver on 127.0.0.1 is the usual case */
	{ "module-config:", "iterator" },	/* no trust anchors: nothing to validate with */
	{ "edns-buffer-size:", "1232" },
	{ "unblock-lan-zones:", "yes" },	/* names of private addresses are the servers' to know */
	{ "cache-max-ttl:", "86400" },
	{ "cache-max-negative-ttl:", "900" },
	{ "outgoing-range:", "2048" },
	{ "num-queries-per-thread:", "2048" },
	/* A server that was away is tried again soon, not in a quarter of an hour. */
	{ "infra-host-ttl:", "30" },
	{ "infra-keep-probing:", "yes" },
	{ "infra-cache-max-rtt:", "5000" },
};

/* "192.0.2.1:53" to what libunbound calls it, "192.0.2.1@53". */
static bool forward(struct ub_ctx *ctx, struct ga_str server, char *err, size_t errlen)
{
	struct ga_sockaddr a;
	char text[GA_SOCKADDR_TEXT], target[GA_SOCKADDR_TEXT + 8];
	int e;

	if (!ga_sockaddr_parse(&a, server, 53)) {
		snprintf(err, errlen, "dns_server %.*s: not an IP or IP:PORT", (int)(server.n < 100 ? server.n : 100),
		    server.p);
		return false;
	}
	snprintf(target, sizeof(target), "%s@%u", ga_sockaddr_text(&a, false, text), ga_sockaddr_port(&a));
	e = ub_ctx_set_fwd(ctx, target);
	if (e != 0)
		snprintf(err, errlen, "dns_server %s: %s", target, ub_strerror(e));
	return e == 0;
}

struct ub_ctx *gac_dns_context(struct ga_strlist servers, char *err, size_t errlen)
{
	struct ub_ctx *ctx;

	if (strncmp(event_get_version(), "libev", 5) == 0 && strncmp(event_get_version(), "libevent", 8) != 0) {
		snprintf(err, errlen, "libunbound got the event functions of %s: libevent must be linked before libev",
		    event_get_version());
		return NULL;
	}
	ctx = ub_ctx_create();
	if (ctx == NULL) {
		snprintf(err, errlen, "libunbound: %s", strerrordesc_np(errno));
		return NULL;
	}
	/* Its own log goes to stderr unasked; what matters comes as an answer. */
	ub_ctx_debugout(ctx, NULL);
	ub_ctx_async(ctx, 1);
	/* An option that this version does not have is one it does without. */
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		(void)ub_ctx_set_option(ctx, options[i].name, options[i].value);
	for (size_t i = 0; i < servers.n; i++)
		if (!forward(ctx, servers.v[i], err, errlen)) {
			ub_ctx_delete(ctx);
			return NULL;
		}
	/* Without a resolv.conf it asks the root servers. */
	if (servers.n == 0)
		(void)ub_ctx_resolvconf(ctx, NULL);
	/* Otherwise it denies this domain unasked.  Last: it ends the time for options. */
	(void)ub_ctx_zone_add(ctx, "test.", "transparent");
	return ctx;
}

/* --- answers --- */

struct mx_order {
	unsigned preference;
	int index;
};

static int by_preference(const void *x, const void *y)
{
	const struct mx_order *a = x, *b = y;

	return a->preference != b->preference ? (a->preference < b->preference ? -1 : 1) :
	    (a->index > b->index) - (a->index < b->index);
}

static int count_records(const struct ub_result *r)
{
	int n = 0;

	while (r->data != NULL && r->data[n] != NULL)
		n++;
	return n;
}

/* Which records to keep: all, or the first GA_DNS_RECORDS by preference. */
static int choose(const struct ub_result *r, int index[GA_DNS_RECORDS])
{
	int n = count_records(r), kept = n < GA_DNS_RECORDS ? n : GA_DNS_RECORDS;
	struct mx_order *order;

	if (n <= GA_DNS_RECORDS || r->qtype != GA_DNS_MX) {
		for (int i = 0; i < kept; i++)
			index[i] = i;
		return kept;
	}
	order = ga_xcalloc((size_t)n, sizeof(*order));
	for (int i = 0; i < n; i++) {
		const unsigned char *p = (const unsigned char *)r->data[i];

		order[i] = (struct mx_order){ r->len[i] < 2 ? UINT16_MAX : (unsigned)(p[0] << 8 | p[1]), i };
	}
	qsort(order, (size_t)n, sizeof(*order), by_preference);
	for (int i = 0; i < kept; i++)
		index[i] = order[i].index;
	free(order);
	return kept;
}

static struct dns_blob *new_blob(int rcode, size_t records, size_t octets)
{
	struct dns_blob *b = ga_xcalloc(1, sizeof(*b) + records * sizeof(struct ga_str) + octets);

	b->refs = 1;
	b->answer.rcode = rcode;
	b->answer.rdata = (struct ga_str *)(void *)(b + 1);
	return b;
}

static struct ga_str canonical(const char *name)
{
	struct ga_str s = ga_str_c(name);

	if (s.n > 1 && s.p[s.n - 1] == '.')
		s.n--;
	return s;
}

static struct dns_blob *copy_answer(const struct ub_result *r)
{
	struct ga_str canon = canonical(r->canonname);
	int index[GA_DNS_RECORDS], n = choose(r, index);
	size_t octets = canon.n;
	struct dns_blob *b;
	struct ga_str *rdata;
	char *to;

	for (int i = 0; i < n; i++) {
		octets += (size_t)r->len[index[i]];
		if (octets > RDATA_MAX)
			n = i;
	}
	b = new_blob(r->nxdomain ? 3 : r->rcode, (size_t)n, octets);
	rdata = (struct ga_str *)(void *)(b + 1);
	to = (char *)(rdata + n);
	for (int i = 0; i < n; i++) {
		rdata[i] = (struct ga_str){ to, (size_t)r->len[index[i]] };
		memcpy(to, r->data[index[i]], rdata[i].n);
		to += rdata[i].n;
	}
	for (size_t i = 0; i < canon.n; i++)
		to[i] = canon.p[i] >= 'A' && canon.p[i] <= 'Z' ? (char)(canon.p[i] + 32) : canon.p[i];
	b->answer.canonname = (struct ga_str){ to, canon.n };
	b->answer.n = (size_t)n;
	b->answer.secure = r->secure != 0;
	b->answer.bogus = r->bogus != 0;
	b->answer.ttl = r->ttl > 0 ? (uint32_t)r->ttl : 0;
	return b;
}

void gac_dns_blob_unref(struct dns_blob *b)
{
	if (b != NULL && --b->refs == 0)
		free(b);
}

/* --- requests --- */

static void put_last(struct dns_request *r)
{
	r->next = NULL;
	*d.waiting.end = r;
	d.waiting.end = &r->next;
}

static void put_under_way(struct dns_request *r)
{
	r->next = d.under_way;
	r->prev = &d.under_way;
	if (r->next != NULL)
		r->next->prev = &r->next;
	d.under_way = r;
	d.count++;
}

static void take_from_under_way(struct dns_request *r)
{
	*r->prev = r->next;
	if (r->next != NULL)
		r->next->prev = r->prev;
	d.count--;
}

static void post_back(struct dns_request *r, struct dns_blob *blob)
{
	r->blob = blob;
	ga_loop_post(r->worker, &r->post);
}

/* libunbound calls this inside ub_process(). */
static void answered(void *arg, int e, struct ub_result *result)
{
	struct dns_request *r = arg;

	take_from_under_way(r);
	if (e == 0 && result != NULL)
		post_back(r, copy_answer(result));
	else
		post_back(r, new_blob(2, 0, 0));
	ub_resolve_free(result);
}

static void ask(struct dns_request *r)
{
	int e;

	put_under_way(r);
	e = ub_resolve_async(d.ctx, r->name, (int)r->rrtype, 1, r, answered, NULL);
	if (e == 0)
		return;
	take_from_under_way(r);
	/* What cannot be written as a name does not exist. */
	post_back(r, new_blob(e == UB_SYNTAX ? 3 : 2, 0, 0));
}

static void take_asked(void)
{
	struct dns_request *r = atomic_exchange_explicit(&d.asked, NULL, memory_order_acquire);
	struct dns_request *oldest = NULL, *next;

	for (; r != NULL; r = next) {
		next = r->next;
		r->next = oldest;
		oldest = r;
	}
	for (r = oldest; r != NULL; r = next) {
		next = r->next;
		put_last(r);
	}
}

static void ask_waiting(void)
{
	while (d.waiting.first != NULL && d.count < OUTSTANDING) {
		struct dns_request *r = d.waiting.first;

		d.waiting.first = r->next;
		if (r->next == NULL)
			d.waiting.end = &d.waiting.first;
		ask(r);
	}
}

/* Deleting a context forgets its questions without a callback. */
static void change_context(void)
{
	struct ub_ctx *next = atomic_exchange(&d.next_ctx, NULL);

	if (next == NULL)
		return;
	while (d.under_way != NULL) {
		struct dns_request *r = d.under_way;

		take_from_under_way(r);
		put_last(r);
	}
	ub_ctx_delete(d.ctx);
	d.ctx = next;
}

static void *run(void *arg)
{
	uint64_t rung;

	pthread_setname_np(pthread_self(), "resolver");
	while (!atomic_load(&d.end)) {
		struct pollfd p[2] = { { d.wake, POLLIN, 0 }, { -1, POLLIN, 0 } };

		change_context();
		take_asked();
		ask_waiting();
		/* Only after the first question is there a descriptor that can be read. */
		if (d.count > 0)
			p[1].fd = ub_fd(d.ctx);
		if (poll(p, 2, -1) < 0)
			continue;
		if ((p[0].revents & POLLIN) && read(d.wake, &rung, sizeof(rung)) < 0 && errno != EAGAIN)
			gac_log(GA_WARN, "core", "GA-DNS-0001", "eventfd: %s", strerrordesc_np(errno));
		if (p[1].revents != 0)
			ub_process(d.ctx);
	}
	return arg;
}

static void ring(void)
{
	static const uint64_t one = 1;

	/* Fails only when 2^64-2 rings are waiting. */
	if (write(d.wake, &one, sizeof(one)) < 0)
		return;
}

void gac_dns_thread_ask(struct dns_request *r)
{
	struct dns_request *head = atomic_load_explicit(&d.asked, memory_order_relaxed);

	do
		r->next = head;
	while (!atomic_compare_exchange_weak_explicit(&d.asked, &head, r, memory_order_release,
	    memory_order_relaxed));
	if (head == NULL)
		ring();
}

void gac_dns_thread_context(struct ub_ctx *ctx)
{
	struct ub_ctx *unused = atomic_exchange(&d.next_ctx, ctx);

	if (unused != NULL)
		ub_ctx_delete(unused);
	ring();
}

bool gac_dns_thread_start(struct ub_ctx *ctx)
{
	sigset_t all, old;

	d.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (d.wake < 0)
		return false;
	d.ctx = ctx;
	d.waiting = (struct list){ NULL, &d.waiting.first };
	atomic_store(&d.end, false);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	d.running = pthread_create(&d.thread, NULL, run, NULL) == 0;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return d.running;
}

void gac_dns_thread_stop(void)
{
	if (!d.running)
		return;
	atomic_store(&d.end, true);
	ring();
	pthread_join(d.thread, NULL);
	d.running = false;
	ub_ctx_delete(d.ctx);
	if (d.next_ctx != NULL)
		ub_ctx_delete(d.next_ctx);
	d.next_ctx = NULL;
	d.ctx = NULL;
	d.under_way = NULL;
	d.count = 0;
	atomic_store(&d.asked, NULL);
	close(d.wake);
	d.wake = -1;
}
