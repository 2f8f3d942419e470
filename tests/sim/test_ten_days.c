/*
 * test_ten_days.c - ten days of mail in virtual time: queue, route and throttle as they are,
 * a spool in memory, and a delivery whose receivers are a model.
 *
 * No socket is opened and no second passes: clocks stand still until the next timer is due.
 * What a receiver does is in the first letters of its name.  At the end every envelope that
 * was accepted has ended once, nothing is left anywhere, and no limit was ever exceeded.
 * Before that: what waiting costs, and reloads while a hundred thousand mails wait.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/queue.h>

#define GA_LEVEL GA_ABI_STRICT
#include <greenarrow/service/delivery.h>
#include <greenarrow/service/intake.h>
#include <greenarrow/service/queue.h>

#include "bed.h"
#include "spool_memory.h"

extern const struct ga_module spool_memory_LTX_ga_module, queue_LTX_ga_module,
    route_LTX_ga_module, throttle_LTX_ga_module;

#define MINUTE UINT64_C(60000)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

/* --- one seed for all that is random --- */

static uint64_t seed;

uint32_t __wrap_ga_random32(void);
uint32_t
__wrap_ga_random32(void)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(seed >> 32);
}

static uint32_t
below(uint32_t n)
{
	return (uint32_t)((uint64_t)__wrap_ga_random32() * n >> 32);
}

/* --- receivers --- */

struct bucket {			/* at most burst at once, then per_ms: the judge of a rate */
	double level, per_ms, burst;
	uint64_t at_ms;
};

static bool
fits(struct bucket *b, uint64_t now)
{
	b->level -= (double)(now - b->at_ms) * b->per_ms;
	if (b->level < 0)
		b->level = 0;
	b->at_ms = now;
	if (b->level + 1 > b->burst + 1e-6)
		return false;
	b->level += 1;
	return true;
}

/* Numbers of messages: what a receiver has answered. */
struct answers {
	uint64_t ok, later, never;
};

/* `hidden.example` takes 5 a second and tells nobody.  `rated0.example` is to get 120 a minute of
 * each VirtualMTA: a second's worth at once, and one that a slower connection held up. */
static struct bucket hidden, rated[4];
static struct answers from_hidden;
static uint64_t attempts_all, submitted;	/* envelopes */

static bool
named(const struct ga_ticket *t, const char *prefix)
{
	return strncmp(t->route->domain.p, prefix, strlen(prefix)) == 0;
}

static enum ga_result
judged(const struct ga_ticket *t, uint64_t now)
{
	attempts_all++;
	if (named(t, "rated"))
		assert_true(fits(&rated[t->route->mta_id], now));
	if (named(t, "hidden"))
		return fits(&hidden, now) ? GA_RESULT_SUCCESS : GA_RESULT_DEFERRAL;
	if (named(t, "grey"))
		return t->attempts == 0 ? GA_RESULT_DEFERRAL : GA_RESULT_SUCCESS;
	if (named(t, "bad"))
		return below(10) == 0 ? GA_RESULT_FAILURE : GA_RESULT_SUCCESS;
	if (named(t, "shaky"))
		return below(20) == 0 ? GA_RESULT_DEFERRAL : GA_RESULT_SUCCESS;
	return GA_RESULT_SUCCESS;
}

/* --- delivery: a connection is a timer --- */

enum doing { CONNECTING, SENDING, SAVED };

struct conn {
	LIST_ENTRY(conn) link;
	struct ga_group *group;
	struct ga_worker *worker;
	struct ga_timer *timer;
	struct ga_batch batch;
	enum doing doing;
	unsigned done;
};

static LIST_HEAD(, conn) conns = LIST_HEAD_INITIALIZER(conns);
static const struct ga_throttle *throttle;
static struct ga_inst *self;
static unsigned nconns, nconns_most;

static unsigned
of_group(const struct ga_group *g)
{
	unsigned n = 0;
	struct conn *c;

	LIST_FOREACH(c, &conns, link)
		n += c->group == g;
	return n;
}

static void
end(struct ga_ticket *t, enum ga_result result, enum ga_attempt_stage stage, const char *text)
{
	t->result = result;
	t->stage = (uint8_t)stage;
	t->network = stage == GA_AT_CONNECT;
	t->code = result == GA_RESULT_SUCCESS ? 250 : result == GA_RESULT_FAILURE ? 550 :
	    stage == GA_AT_CONNECT ? 0 : 451;
	t->text = strdup(text);
}

static void
end_batch(struct conn *c, bool connected)
{
	uint64_t now = ga_now_ms(c->worker);
	struct ga_ticket *t, *next;

	for (t = c->batch.first; t != NULL; t = t->next) {
		enum ga_result result = connected ? judged(t, now) : GA_RESULT_DEFERRAL;

		if (named(t, "hidden"))
			*(result == GA_RESULT_SUCCESS ? &from_hidden.ok : &from_hidden.later) += 1;
		end(t, result, connected ? GA_AT_MESSAGE : GA_AT_CONNECT, !connected ? "connect: Connection refused" :
		    result == GA_RESULT_SUCCESS ? "250 2.0.0 ok" : result == GA_RESULT_FAILURE ?
		    "550 5.1.1 no such user" : "451 4.7.1 later");
	}
	throttle->ended(c->group, c->batch.first, c->batch.n);
	for (t = c->batch.first; t != NULL; t = next) {
		next = t->next;
		ga_ticket_end(t);
	}
	c->batch = (struct ga_batch){ NULL, 0 };
}

static void
close_conn(struct conn *c)
{
	struct ga_group *g = c->group;

	LIST_REMOVE(c, link);
	ga_timer_free(c->timer);
	free(c);
	nconns--;
	throttle->closed(g);
}

static void
send_batch(struct conn *c, struct ga_batch batch)
{
	c->batch = batch;
	c->doing = SENDING;
	ga_timer_arm(c->timer, named(batch.first, "slow") ? 5000 : 80, 0);
}

static void
go_on(struct ga_inst *inst, struct ga_worker *w, void *arg)
{
	struct conn *c = arg;
	struct ga_batch batch;

	(void)inst;
	(void)w;
	switch (c->doing) {
	case CONNECTING:
		if (named(c->batch.first, "dead")) {
			end_batch(c, false);
			close_conn(c);
			return;
		}
		send_batch(c, c->batch);
		return;
	case SENDING:
		end_batch(c, true);
		batch = ++c->done < 20 ? throttle->next(c->group, 10, NULL, NULL) : (struct ga_batch){ NULL, 0 };
		if (batch.n > 0) {
			send_batch(c, batch);
		} else if (c->done < 20) {
			c->doing = SAVED;
			ga_timer_arm(c->timer, 30000, 0);
		} else {
			close_conn(c);
		}
		return;
	case SAVED:
		close_conn(c);
		return;
	}
}

static void
open_conn(struct ga_group *g, struct ga_worker *w, struct ga_batch batch)
{
	unsigned max = throttle->max_connections(g);
	struct conn *c = ga_xcalloc(1, sizeof *c);

	assert_true(max == 0 || of_group(g) < max);
	c->group = g;
	c->worker = w;
	c->batch = batch;
	c->timer = ga_timer_new(self, w, go_on, c);
	LIST_INSERT_HEAD(&conns, c, link);
	if (++nconns > nconns_most)
		nconns_most = nconns;
	ga_timer_arm(c->timer, 40, 0);
}

static bool
offer(struct ga_group *g, struct ga_batch batch)
{
	struct conn *c;

	LIST_FOREACH(c, &conns, link)
		if (c->group == g && c->doing == SAVED) {
			send_batch(c, batch);
			return true;
		}
	return false;
}

static bool
close_idle(struct ga_group *g, struct ga_worker *w)
{
	struct conn *c;

	LIST_FOREACH(c, &conns, link)
		if (c->worker == w && c->doing == SAVED && (g == NULL || c->group == g)) {
			close_conn(c);
			return true;
		}
	return false;
}

static unsigned
saved(const struct ga_group *g)
{
	struct conn *c;
	unsigned n = 0;

	LIST_FOREACH(c, &conns, link)
		n += c->group == g && c->doing == SAVED;
	return n;
}

static const struct ga_delivery delivery = { .size = sizeof delivery, .version = GA_DELIVERY_VERSION,
	.offer = offer, .open = open_conn, .close_idle = close_idle, .saved = saved };

static bool
world_init(struct ga_inst *inst, const void *conf)
{
	(void)conf;
	self = inst;
	ga_service_provide(inst, GA_DELIVERY_SERVICE, GA_DELIVERY_VERSION, &delivery);
	return true;
}

GA_MODULE(world, "1.0.0", "", GA_NO_HOOKS, GA_NO_DIRECTIVES, .flags = GA_KEEP_INSTANCE, .init = world_init);

static const struct ga_module *const modules[] = { &spool_memory_LTX_ga_module, &queue_LTX_ga_module,
	&route_LTX_ga_module, &throttle_LTX_ga_module, &world_LTX_ga_module, NULL };

/* --- mail in --- */

struct mail {
	struct ga_intake_submit s;
	struct ga_snapshot *snapshot;
	bool answered;
};

static void
answered(struct ga_worker *w, struct ga_intake_submit *s)
{
	struct mail *m = s->arg;

	(void)w;
	assert_int_equal(s->verdict, GA_ACCEPT);
	ga_txn_free(s->txn, GA_END_DONE);
	ga_snapshot_unref(m->snapshot);
	free(m);
}

static void
submit(unsigned from, const char *domain, unsigned recipients)
{
	const struct ga_intake *intake = ga_service_get(GA_INTAKE_SERVICE, GA_INTAKE_VERSION);
	struct ga_worker *w = ga_worker_get(from % ga_worker_count());
	struct mail *m = ga_xcalloc(1, sizeof *m);
	struct ga_txn *t;

	m->snapshot = ga_snapshot_current();
	t = ga_txn_new(w, NULL, ga_snapshot_general(m->snapshot));
	t->sender = ga_fmt(t->pool, "news@s%u.example", from);
	ga_attrs_put(&t->attrs, GA_ATTR_VIRTUAL_MTA, GA_STR("pool"));
	ga_attrs_put(&t->attrs, GA_ATTR_SEND_ID, ga_fmt(t->pool, "send-%u", from / 2));
	for (unsigned i = 0; i < recipients; i++)
		ga_txn_add_rcpt(t)->to = ga_fmt(t->pool, "r%u@%s", i, domain);
	t->body = ga_body_new();
	ga_body_append(t->body, "Subject: x\r\n\r\nhello\r\n", 21);
	t->header_size = 14;
	m->s = (struct ga_intake_submit){ .txn = t, .trace = GA_STR("Received: by sim\r\n"), .cb = answered, .arg = m };
	submitted += recipients;
	intake->submit(w, &m->s);
}

static const struct { const char *receiver; unsigned names, share; } traffic[] = {
	{ "good", 200, 60 }, { "slow", 10, 5 }, { "dead", 10, 3 }, { "grey", 20, 10 }, { "bad", 20, 10 },
	{ "shaky", 10, 7 }, { "rated", 1, 5 },
};

static void
one_message(void)
{
	char domain[64];
	unsigned draw = below(100), i = 0;

	while (draw >= traffic[i].share)
		draw -= traffic[i++].share;
	snprintf(domain, sizeof domain, "%s%u.example", traffic[i].receiver, below(traffic[i].names));
	submit(below(20), domain, 1 + below(3));
}

static struct ga_queue_stats
stats(void)
{
	const struct ga_queue *q = ga_service_get(GA_QUEUE_SERVICE, GA_QUEUE_VERSION);
	struct ga_queue_stats s;

	q->stats(&s);
	return s;
}

/* --- the ten days --- */

static const char conf[] =
    "general {\n"
    "  default_virtual_mta pool\n"
    "  queue_lifetime 2d\n"
    "  system_max_smtp_connections 400\n"
    "}\n"
    "ip_address ip-1 {\n  mta_id 1\n}\n"
    "ip_address ip-2 {\n  mta_id 2\n}\n"
    "routing_rule pool {\n  mta_id 3\n  deliver_through ip-1 70, ip-2 30\n}\n"
    "ip_address * {\n"
    "  max_concurrent_connections 10\n"
    "  domain * {\n    smtp_route 192.0.2.1\n  }\n"
    "  domain rated0.example {\n    max_delivery_rate 120/min\n  }\n"
    "}\n";

static int
up(void **state)
{
	seed = 20261126;
	attempts_all = submitted = nconns_most = 0;
	from_hidden = (struct answers){ 0, 0, 0 };
	hidden = (struct bucket){ .per_ms = 0.005, .burst = 5 };
	for (unsigned i = 0; i < 4; i++)
		rated[i] = (struct bucket){ .per_ms = 0.002, .burst = 3 };
	bed_up(&(struct bed){ .conf = *state != NULL ? *state : conf, .modules = modules, .workers = 2 });
	throttle = ga_service_get(GA_THROTTLE_SERVICE, GA_THROTTLE_VERSION);
	bed_turns(5);
	return 0;
}

static int
down(void **state)
{
	struct ga_queue_stats s = stats();

	(void)state;
	assert_int_equal(s.envelopes, s.failed);	/* nobody reports failures here: they are kept */
	assert_int_equal(nconns, 0);
	bed_down();
	spool_memory_forget_all();
	return 0;
}

static void
test_ten_days(void **state)
{
	struct ga_queue_stats s;

	(void)state;
	for (uint64_t minute = 0; minute < 10 * DAY / MINUTE; minute++) {
		/* by day twice of what comes by night; once an hour a campaign of 200 */
		unsigned n = minute / 720 % 2 == 0 ? 6 : 3;

		for (unsigned i = 0; i < n; i++)
			one_message();
		for (unsigned i = 0; minute % 60 == 0 && i < 200; i++)
			one_message();
		bed_advance(MINUTE);
	}
	bed_advance(4 * DAY);
	s = stats();
	print_message("%llu envelopes, %llu attempts, %llu ok, %llu deferrals, %llu failures, %llu too long, %u connections at most, %llu timers\n",
	    (unsigned long long)submitted, (unsigned long long)attempts_all, (unsigned long long)s.success_total,
	    (unsigned long long)s.deferral_total, (unsigned long long)s.failure_total,
	    (unsigned long long)s.toolong_total, nconns_most, (unsigned long long)bed_fired());
	assert_int_equal(s.success_total + s.failure_total + s.toolong_total, submitted);
	assert_int_equal(s.failure_total + s.toolong_total, s.failed);
	assert_true(s.toolong_total > 0 && s.failure_total > 0 && s.deferral_total > s.toolong_total);
}

/* --- a day behind a slow rate --- */

static const char slow_rate[] =
    "general {\n  default_virtual_mta pool\n}\n"
    "ip_address ip-1 {\n  mta_id 1\n}\n"
    "routing_rule pool {\n  mta_id 3\n  deliver_through ip-1\n}\n"
    "ip_address * {\n"
    "  queue_lifetime 30d\n"
    "  max_delivery_rate 1/hr\n"
    "  domain * {\n    smtp_route 192.0.2.1\n  }\n"
    "}\n";

static uint64_t
fired_in(uint64_t ms)
{
	uint64_t before_ = bed_fired();

	bed_advance(ms);
	return bed_fired() - before_;
}

/* A thousand groups, each with 30 mails and leave for one an hour: what fires in a day above what
 * an idle daemon has is a few timers a delivery, and nothing for waiting. */
static void
test_who_waits_wakes_nobody(void **state)
{
	uint64_t idle = fired_in(DAY), busy;
	char domain[64];

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(domain, sizeof domain, "good%u.example", i);
		for (unsigned k = 0; k < 10; k++)
			submit(k, domain, 3);
	}
	bed_advance(MINUTE);
	busy = fired_in(DAY);
	print_message("%llu timers in an idle day, %llu in one with %llu deliveries\n", (unsigned long long)idle,
	    (unsigned long long)busy, (unsigned long long)stats().success_total);
	assert_in_range(stats().success_total, 24000, 26000);
	assert_true(busy < idle + 5 * stats().success_total);
	bed_advance(DAY);
}

/* --- reloads under a hundred thousand waiting mails --- */

#define SENDERS 10u
#define DOMAINS 50u
#define EACH 200u

static const char other_way[] =
    "general {\n  default_virtual_mta pool\n}\n"
    "ip_address ip-1 {\n  mta_id 1\n}\n"
    "ip_address ip-2 {\n  mta_id 2\n}\n"
    "routing_rule pool {\n  mta_id 3\n  deliver_through ip-2\n}\n"
    "ip_address * {\n"
    "  queue_lifetime 30d\n"
    "  max_delivery_rate 1/hr\n"
    "  domain * {\n    smtp_route 192.0.2.1\n  }\n"
    "}\n";

static const char fast[] =
    "general {\n  default_virtual_mta pool\n}\n"
    "ip_address ip-1 {\n  mta_id 1\n}\n"
    "routing_rule pool {\n  mta_id 3\n  deliver_through ip-1\n}\n"
    "ip_address * {\n"
    "  queue_lifetime 2h\n"
    "  domain * {\n    smtp_route 192.0.2.1\n  }\n"
    "}\n";

static void
fill(void)
{
	char domain[64];

	for (unsigned i = 0; i < DOMAINS; i++) {
		snprintf(domain, sizeof domain, "good%u.example", i);
		for (unsigned k = 0; k < SENDERS; k++)
			submit(k, domain, EACH);
		bed_turns(5);
	}
	bed_advance(MINUTE);
	assert_int_equal(submitted, DOMAINS * SENDERS * EACH);
	assert_int_equal(stats().envelopes, submitted - stats().success_total);
}

static void
count_keys(struct ga_group *g, const struct ga_group_info *info, void *arg)
{
	unsigned *waiting = arg;

	(void)info;
	waiting[throttle->key(g).p[0] == '1' ? 1 : 2] += info->waiting;
}

static void
counted(struct ga_worker *w, void *arg)
{
	(void)w;
	((unsigned *)arg)[0] = 1;
}

/* Tickets that wait in groups of ip-1 and of ip-2. */
static void
waiting_in_groups(unsigned waiting[3])
{
	waiting[0] = waiting[1] = waiting[2] = 0;
	throttle->each_group(ga_worker_get(0), count_keys, counted, waiting);
	while (waiting[0] == 0)
		bed_turn();
}

static void
pause_send(const char *name, uint64_t ms)
{
	const struct ga_queue *q = ga_service_get(GA_QUEUE_SERVICE, GA_QUEUE_VERSION);

	q->pause(ga_worker_get(0), &(struct ga_pause){ .kind = GA_PAUSE_SEND, .name = ga_str_c(name),
		.until_ms = ms != 0 ? ga_wall_ms() + ms : 0 });
}

/* A second reload, pauses and new mail come while the first still has mail to route. */
static void
test_what_happens_during_a_reload_loses_nothing(void **state)
{
	unsigned waiting[3];

	(void)state;
	fill();
	bed_reload(other_way);
	bed_turns(20);
	waiting_in_groups(waiting);
	assert_true(waiting[1] > 0 && waiting[2] > 0);	/* it is under way */
	pause_send("send-1", HOUR);
	submit(5, "good7.example", 3);
	bed_turns(20);
	bed_reload(other_way);
	pause_send("send-2", 0);
	bed_advance(MINUTE);
	waiting_in_groups(waiting);
	assert_int_equal(waiting[1], 0);		/* it is done, and held is what is paused */
	assert_in_range(waiting[2], submitted * 3 / 5 - 3 * DOMAINS, submitted * 3 / 5 + 3);
	bed_reload(fast);
	bed_advance(DAY);
	print_message("%llu ok, %llu too long\n", (unsigned long long)stats().success_total,
	    (unsigned long long)stats().toolong_total);
	assert_int_equal(stats().success_total + stats().toolong_total, submitted);
	assert_in_range(stats().toolong_total, submitted / 5 - 3 * DOMAINS, submitted / 5 + 3);
}

static void
test_a_stop_during_a_reload_loses_nothing(void **state)
{
	uint64_t before;

	(void)state;
	fill();
	bed_reload(other_way);
	bed_turns(20);
	bed_drain();
	bed_advance(MINUTE);
	assert_false(bed_held());
	before = stats().success_total;
	assert_int_equal(stats().envelopes, submitted - before);
	assert_int_equal(stats().waiting, submitted - before);
	bed_down();
	bed_up(&(struct bed){ .conf = fast, .modules = modules, .workers = 2 });
	throttle = ga_service_get(GA_THROTTLE_SERVICE, GA_THROTTLE_VERSION);
	bed_advance(HOUR);
	assert_int_equal(stats().success_total, submitted - before);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_prestate_setup_teardown(test_who_waits_wakes_nobody, up, down, (void *)(uintptr_t)slow_rate),
		cmocka_unit_test_prestate_setup_teardown(test_what_happens_during_a_reload_loses_nothing, up, down, (void *)(uintptr_t)slow_rate),
		cmocka_unit_test_prestate_setup_teardown(test_a_stop_during_a_reload_loses_nothing, up, down, (void *)(uintptr_t)slow_rate),
		cmocka_unit_test_setup_teardown(test_ten_days, up, down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
