/*
 * test_throttle.c - the module throttle on the test bed, with a delivery of the
 * test's own.
 *
 * A connection of this delivery does nothing until the test lets its batch end;
 * then it asks for the next one and is saved when there is none, or is closed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../backoff.h"
#include "bed.h"
#include "throttle_rig.h"

static const struct ga_module *const modules[] = { &throttle_LTX_ga_module, NULL };

#define BATCHES_MAX 4096

/* --- delivery of the test --- */

static unsigned open_most, opened;
static struct { uint64_t seq; uint32_t sender; unsigned n; } batches[BATCHES_MAX];
static unsigned nbatches;

static void
run(struct conn *c, struct ga_batch batch)
{
	assert_true(nbatches < BATCHES_MAX);
	batches[nbatches].seq = batch.first->seq;
	batches[nbatches].sender = batch.first->sender_key;
	batches[nbatches++].n = batch.n;
	c->batch = batch;
}

static unsigned
open_of(const struct ga_group *g)
{
	unsigned n = 0;

	for (unsigned i = 0; i < CONNS_MAX; i++)
		n += conns[i].group == g;
	return n;
}

static void
open_one(struct ga_group *g, struct ga_worker *w, struct ga_batch batch)
{
	unsigned max = thr->max_connections(g);

	assert_ptr_equal(w, g->home);
	run(rig_open(g, batch), batch);
	opened++;
	if (rig_open_now() > open_most)
		open_most = rig_open_now();
	assert_true(max == 0 || open_of(g) <= max);
}

static void
end_batch(struct conn *c)
{
	for (struct ga_ticket *t = c->batch.first; t != NULL; t = t->next)
		t->result = GA_RESULT_SUCCESS;
	rig_end_batch(c);
}

static void
end_and_pull(struct conn *c, unsigned limit)
{
	struct ga_batch batch;

	end_batch(c);
	batch = thr->next(c->group, limit, NULL, NULL);
	if (batch.n > 0)
		run(c, batch);
}

/* Every batch that runs now ends. */
static void
end_all(bool keep)
{
	bool busy[CONNS_MAX];

	for (unsigned i = 0; i < CONNS_MAX; i++)
		busy[i] = conns[i].group != NULL && conns[i].batch.n > 0;
	for (unsigned i = 0; i < CONNS_MAX; i++)
		if (busy[i] && keep) {
			end_and_pull(&conns[i], GA_BATCH_MAX);
		} else if (busy[i]) {
			end_batch(&conns[i]);
			rig_close(&conns[i]);
		}
	bed_turns(10);
}

/* --- routes and tickets --- */

static unsigned successes, recalled;
static struct ga_route *again;		/* what is recalled is enqueued again, on this route */

static void
done(struct ga_worker *home, struct ga_ticket *t)
{
	assert_ptr_equal(home, t->home);
	assert_true(t->result == GA_RESULT_SUCCESS || t->result == GA_RESULT_RECALLED);
	if (t->result == GA_RESULT_SUCCESS)
		successes++;
	else
		recalled++;
	if (t->result == GA_RESULT_RECALLED && again != NULL) {
		ga_route_unref(t->route);
		t->route = ga_route_ref(again);
		thr->enqueue(home, t);
		return;
	}
	rig_free_ticket(home, t);
}

static struct ga_ticket *
new_ticket(struct ga_worker *home, struct ga_route *r, uint64_t seq, uint32_t sender)
{
	struct ga_ticket *t = rig_ticket(home, r, seq, done);

	t->sender_key = sender;
	return t;
}

static void
put_from(struct ga_worker *home, struct ga_route *r, uint64_t seq, uint32_t sender)
{
	thr->enqueue(home, new_ticket(home, r, seq, sender));
}

static void
put(struct ga_route *r, uint64_t seq, uint32_t sender)
{
	put_from(ga_worker_get(0), r, seq, sender);
}

/* --- fixture --- */

static void
up(const char *conf, unsigned workers)
{
	open_most = opened = nbatches = successes = recalled = 0;
	rig_up(conf, workers, modules, rig_delivery(open_one, run));
}

/* Whatever is still there ends; nothing may be left behind: no slot, no group. */
static void
down(void)
{
	for (int i = 0; i < 2000 && rig_open_now() > 0; i++) {
		end_all(true);
		for (unsigned w = 0; w < ga_worker_count(); w++)
			while (rig_close_idle(NULL, ga_worker_get(w)))
				;
		bed_turns(5);
	}
	bed_turns(20);
	assert_int_equal(rig_open_now(), 0);
	assert_int_equal(thr_slots_used(), 0);
	assert_int_equal(rig_groups(), 0);
	assert_false(thr_slots_wanted());
	bed_down();
}

/* --- tests --- */

static void
test_max_concurrent_connections_is_never_exceeded(void **state)
{
	struct ga_route *r;

	(void)state;
	up("general {\n  max_concurrent_connections 3\n}\n", 2);
	r = rig_route("1,d.example");
	for (unsigned i = 0; i < 1000; i++)
		put_from(ga_worker_get(i % 2), r, i + 1, i % 7);
	bed_turns(10);
	assert_int_equal(rig_open_now(), 3);
	for (unsigned i = 0; i < 1000 && successes < 1000; i++)
		end_all(i % 3 != 0);
	assert_int_equal(successes, 1000);
	assert_int_equal(open_most, 3);
	ga_route_unref(r);
	down();
}

static void
test_the_limit_of_the_system_is_exact_over_groups_and_loops(void **state)
{
	struct ga_route *a, *b;
	bool both = false;

	(void)state;
	up("general {\n  system_max_smtp_connections 5\n}\n", 2);
	a = rig_route("1,a.example");
	b = rig_route("1,b.example");
	for (unsigned i = 0; i < 200; i++) {
		put(a, 2 * i + 1, 1);
		put(b, 2 * i + 2, 1);
	}
	bed_turns(20);
	assert_ptr_not_equal(a->group->home, b->group->home);
	assert_int_equal(rig_open_now(), 5);
	for (unsigned i = 0; i < 1000 && successes < 400; i++) {
		end_all(false);
		both = both || (open_of(a->group) > 0 && open_of(b->group) > 0);
		if (successes + 5 <= 400)
			assert_int_equal(thr_slots_used(), 5);	/* none lies idle while some wait */
	}
	assert_int_equal(successes, 400);
	assert_int_equal(open_most, 5);
	assert_true(both);
	ga_route_unref(a);
	ga_route_unref(b);
	down();
}

static void
test_who_waits_for_a_slot_is_woken(void **state)
{
	struct ga_route *a, *b;

	(void)state;
	up("general {\n  system_max_smtp_connections 1\n}\n", 2);
	a = rig_route("1,a.example");
	b = rig_route("1,b.example");
	put(a, 1, 1);
	bed_turns(10);
	put(b, 2, 1);
	bed_turns(10);
	assert_int_equal(open_of(a->group), 1);
	assert_int_equal(open_of(b->group), 0);
	end_all(false);				/* its connection closed: the slot is b's */
	assert_int_equal(open_of(b->group), 1);
	end_all(true);				/* saved */
	assert_int_equal(open_of(b->group), 1);
	put(a, 3, 1);				/* ... until another needs its slot */
	bed_turns(20);
	assert_int_equal(open_of(b->group), 0);
	assert_int_equal(open_of(a->group), 1);
	assert_int_equal(open_most, 1);
	ga_route_unref(a);
	ga_route_unref(b);
	down();
}

static void
test_one_mail_is_served_before_another_senders_thousand(void **state)
{
	struct ga_route *r;
	unsigned at;

	(void)state;
	up("general {\n  max_concurrent_connections 1\n}\n", 1);
	r = rig_route("1,d.example");
	for (unsigned i = 0; i < 1000; i++)
		put(r, i + 1, 1);
	bed_turns(10);
	put(r, 5000, 2);
	bed_turns(10);
	at = nbatches;
	end_all(true);
	end_all(true);
	assert_int_equal(nbatches, at + 2);
	assert_true(batches[at].sender == 2 || batches[at + 1].sender == 2);
	for (unsigned i = 0; i < 2000 && successes < 1001; i++)
		end_all(true);
	assert_int_equal(successes, 1001);
	assert_int_equal(opened, 1);
	for (unsigned i = 1, last = 0; i < nbatches; i++)	/* of one sender: as they came */
		if (batches[i].sender == 1) {
			assert_true(batches[i].seq > last);
			last = (unsigned)batches[i].seq;
		}
	ga_route_unref(r);
	down();
}

static void
test_a_batch_is_of_one_message_and_no_longer_than_asked_for(void **state)
{
	static const struct { uint64_t seq; unsigned n; } want[] = {
		{ 1, 100 }, { 1, 100 }, { 1, 50 }, { 2, 1 }, { 3, 7 }, { 3, 3 }
	};
	struct ga_route *r;

	(void)state;
	up("general {\n  max_concurrent_connections 1\n}\n", 1);
	r = rig_route("1,d.example");
	for (unsigned i = 0; i < 250; i++)
		put(r, 1, 1);
	put(r, 2, 1);
	for (unsigned i = 0; i < 10; i++)
		put(r, 3, 1);
	bed_turns(10);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(nbatches, i + 1);
		end_and_pull(&conns[0], i < 3 ? GA_BATCH_MAX : 7);
	}
	assert_int_equal(nbatches, 6);
	for (unsigned i = 0; i < 6; i++) {
		assert_int_equal(batches[i].seq, want[i].seq);
		assert_int_equal(batches[i].n, want[i].n);
	}
	ga_route_unref(r);
	down();
}

static bool
even(const struct ga_ticket *t, void *arg)
{
	(void)arg;
	return t->seq % 2 == 0;
}

static void
test_recall_gives_back_what_waits_and_nothing_else(void **state)
{
	struct ga_route *r;

	(void)state;
	up("general {\n  max_concurrent_connections 2\n}\n", 2);
	r = rig_route("1,d.example");
	for (unsigned i = 1; i <= 40; i++)
		put_from(ga_worker_get(0), r, i, i % 3);
	bed_turns(10);
	for (unsigned i = 101; i <= 120; i++)
		put_from(ga_worker_get(1), r, i, i % 3);
	bed_turns(10);
	assert_int_equal(r->group->in_flight, 2);
	assert_int_equal(r->group->waiting, 58);
	thr->recall(ga_worker_get(1), even, NULL);
	bed_turns(10);
	assert_int_equal(recalled, 10);
	thr->recall(ga_worker_get(0), NULL, NULL);
	bed_turns(10);
	assert_int_equal(recalled, 10 + 38);	/* two of that home are in flight */
	assert_int_equal(r->group->waiting, 10);
	assert_int_equal(r->group->in_flight, 2);
	put_from(ga_worker_get(0), r, 500, 1);	/* lanes are whole: more may come */
	for (unsigned i = 0; i < 100 && successes < 13; i++)
		end_all(true);
	assert_int_equal(successes, 13);
	assert_int_equal(recalled, 48);
	ga_route_unref(r);
	down();
}

static void
test_a_recall_overtakes_no_ticket_that_is_on_its_way(void **state)
{
	struct ga_route *r[2];

	(void)state;
	up("general {\n  max_concurrent_connections 2\n}\n", 2);
	r[0] = rig_route("1,d.example");	/* one group on each loop */
	r[1] = rig_route("2,d.example");
	for (unsigned i = 0; i < 20; i++)
		put_from(ga_worker_get(0), r[i % 2], i / 2, 1);
	thr->recall(ga_worker_get(0), NULL, NULL);
	bed_turns(10);
	assert_int_equal(recalled, 20);
	assert_int_equal(opened, 0);
	ga_route_unref(r[0]);
	ga_route_unref(r[1]);
	down();
}

/* What is done between two looks of a post that comes again and again: its slices. */
static struct {
	struct ga_post post;
	const struct ga_group *group;
	unsigned looked, waiting;		/* at the last look */
	unsigned most_looked, most_gone;
	bool stop;
} watch;
static unsigned matches_asked;

static bool
even_counted(const struct ga_ticket *t, void *arg)
{
	matches_asked++;
	return even(t, arg);
}

static void
look(struct ga_worker *w, struct ga_post *post)
{
	unsigned looked = matches_asked - watch.looked, gone = watch.waiting - watch.group->waiting;

	watch.most_looked = looked > watch.most_looked ? looked : watch.most_looked;
	watch.most_gone = gone > watch.most_gone ? gone : watch.most_gone;
	watch.looked = matches_asked;
	watch.waiting = watch.group->waiting;
	if (!watch.stop)
		ga_loop_post(w, post);
}

static void
watch_slices(const struct ga_group *g)
{
	memset(&watch, 0, sizeof watch);
	matches_asked = 0;
	watch.post.fn = look;
	watch.group = g;
	watch.waiting = g->waiting;
	ga_loop_post(g->home, &watch.post);
}

static void
test_a_recall_of_a_hundred_thousand_goes_in_slices(void **state)
{
	struct ga_route *r;

	(void)state;
	up("general {\n  max_concurrent_connections 1\n}\n", 1);
	r = rig_route("1,d.example");
	for (unsigned i = 1; i <= 100000; i++)
		put(r, i, i % 1000 < 500 ? 0 : i % 1000);	/* a long lane, and 500 others */
	bed_turns(10);
	watch_slices(r->group);
	thr->recall(ga_worker_get(0), even_counted, NULL);
	bed_turns(2000);
	assert_int_equal(recalled, 50000);
	assert_int_equal(watch.most_looked, THR_RECALL_SLICE);
	assert_in_range(watch.most_gone, 1, THR_RECALL_SLICE);
	thr->recall(ga_worker_get(0), NULL, NULL);
	bed_turns(1000);
	watch.stop = true;
	bed_turns(2);
	assert_int_equal(recalled, 99999);		/* one is in flight */
	assert_int_equal(r->group->waiting, 0);
	assert_in_range(watch.most_gone, 1, THR_RECALL_SLICE);
	end_all(true);
	ga_route_unref(r);
	down();
}

/* Batches leave the lanes, come back to them and end while two recalls are under way: each ticket
 * goes home once, and none is forgotten. */
static void
test_deliveries_during_a_recall_lose_nothing(void **state)
{
	struct ga_route *r;

	(void)state;
	up("general {\n  max_concurrent_connections 3\n}\n", 1);
	r = rig_route("1,d.example");
	for (unsigned i = 1; i <= 20000; i++)
		put(r, i / 2, i % 5000);
	bed_turns(10);
	thr->recall(ga_worker_get(0), even, NULL);
	for (unsigned i = 0; i < 2; i++)
		end_all(i % 2 == 0);
	assert_in_range(recalled, 1, 9000);		/* it is under way */
	thr->recall(ga_worker_get(0), NULL, NULL);
	for (unsigned i = 0; i < 100; i++)
		end_all(i % 2 == 0);
	assert_int_equal(r->group->waiting, 0);
	assert_int_equal(recalled + successes, 20000);
	ga_route_unref(r);
	down();
}

static void
test_what_comes_back_during_a_recall_is_left(void **state)
{
	struct ga_route *r;

	(void)state;
	up("general {\n  max_concurrent_connections 1\n}\n", 1);
	r = rig_route("1,d.example");
	for (unsigned i = 1; i <= 5001; i++)
		put(r, i, i % 100);
	bed_turns(10);
	again = r;
	thr->recall(ga_worker_get(0), NULL, NULL);
	bed_turns(200);
	again = NULL;
	assert_int_equal(recalled, 5000);
	assert_int_equal(r->group->waiting, 5000);
	thr->recall(ga_worker_get(0), NULL, NULL);
	bed_turns(100);
	assert_int_equal(recalled, 10000);
	end_all(true);
	ga_route_unref(r);
	down();
}

static void
test_next_closed_and_ended_keep_the_counts(void **state)
{
	struct ga_route *r;
	const struct ga_group *g;

	(void)state;
	up("general {\n  max_concurrent_connections 1\n}\n", 1);
	r = rig_route("1,d.example");
	for (unsigned i = 0; i < 5; i++)
		put(r, 1, 1);
	for (unsigned i = 0; i < 3; i++)
		put(r, 2, 1);
	bed_turns(10);
	g = r->group;
	assert_int_equal(rig_groups(), 1);
	assert_int_equal(g->connections, 1);
	assert_int_equal(g->in_flight, 5);
	assert_int_equal(g->waiting, 3);
	end_and_pull(&conns[0], 2);
	assert_int_equal(g->in_flight, 2);
	assert_int_equal(g->waiting, 1);
	end_batch(&conns[0]);
	assert_int_equal(g->in_flight, 0);
	rig_close(&conns[0]);
	assert_int_equal(g->connections, 0);
	assert_int_equal(thr_slots_used(), 0);
	bed_turns(10);				/* what was left has a connection of its own */
	assert_int_equal(g->connections, 1);
	assert_int_equal(g->in_flight, 1);
	assert_int_equal(g->waiting, 0);
	ga_route_unref(r);
	bed_turns(10);
	assert_int_equal(rig_groups(), 1);		/* in flight: it lives */
	end_all(false);
	assert_int_equal(successes, 8);
	down();
}

static void
test_a_lowered_limit_takes_connections_away_and_a_raised_one_adds(void **state)
{
	struct ga_route *r;

	(void)state;
	up("general {\n  max_concurrent_connections 5\n}\n", 1);
	r = rig_route("1,d.example");
	for (unsigned i = 0; i < 50; i++)
		put(r, i + 1, 1);
	bed_turns(10);
	assert_int_equal(rig_open_now(), 5);
	ga_route_unref(r);
	bed_reload("general {\n  max_concurrent_connections 2\n}\n");
	r = rig_route("1,d.example");
	put(r, 100, 1);
	bed_turns(10);
	assert_int_equal(rig_open_now(), 5);		/* nobody is cut off */
	end_all(true);
	end_all(true);
	assert_int_equal(rig_open_now(), 2);
	ga_route_unref(r);
	bed_reload("general {\n  max_concurrent_connections 4\n}\n");
	r = rig_route("1,d.example");
	put(r, 101, 1);
	bed_turns(10);
	assert_int_equal(rig_open_now(), 4);
	for (unsigned i = 0; i < 100 && successes < 52; i++)
		end_all(true);
	assert_int_equal(successes, 52);
	ga_route_unref(r);
	down();
}

/* --- memory --- */

/* --- what a group costs --- */

#define GROUPS 100000
/* One of the real loops, with what malloc adds and its place among those of the loop; and
 * one of the test bed. */
#define TIMER_OCTETS 144
#define BED_TIMER_OCTETS 120

size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

static size_t
allocated(void)
{
	struct mallinfo2 m = mallinfo2();

	return __sanitizer_get_current_allocated_bytes != NULL ?
	    __sanitizer_get_current_allocated_bytes() : m.uordblks + m.hblkhd;
}

static void
assert_a_kilobyte(size_t before, bool has_timer, const char *state)
{
	size_t each = (allocated() - before) / GROUPS + TIMER_OCTETS - (has_timer ? BED_TIMER_OCTETS : 0);

	print_message("%zu octets for each group %s\n", each, state);
	assert_true(each > sizeof(struct ga_group));
	assert_true(each <= 1024);
}

static void
each_has_a_deferral(struct ga_route **r)
{
	const struct ga_ticket t = { .result = GA_RESULT_DEFERRAL, .stage = GA_AT_RCPT };

	for (unsigned i = 0; i < GROUPS; i++)
		thr_backoff_feed(r[i]->group, &t, 1);
}

/* All that a group can have: mail that waits, results, a timer, a backoff with a reply that is
 * longer than what is kept of it, and a recovery. */
static void
test_a_group_takes_a_kilobyte_at_most_in_every_state(void **state)
{
	static char keys[GROUPS][16], reply[2 * THR_REASON_MAX];
	struct ga_route **r = ga_xcalloc(GROUPS, sizeof(struct ga_route *));
	struct ga_ticket **t = ga_xcalloc(GROUPS, sizeof(struct ga_ticket *));
	size_t before;

	(void)state;
	up("general {\n  system_max_smtp_connections 1\n  throttle_program P\n}\n"
	    "throttle_program P {\n  deferral_rate 30%\n  recovery gradual\n}\n", 1);
	for (unsigned i = 0; i < GROUPS; i++) {
		snprintf(keys[i], sizeof keys[i], "ip1pd%u", i);
		r[i] = rig_route(keys[i]);
		t[i] = new_ticket(ga_worker_get(0), r[i], i + 1, 1);
	}
	before = allocated();
	for (unsigned i = 0; i < GROUPS; i++)
		thr->enqueue(ga_worker_get(0), t[i]);
	bed_turns(2 * GROUPS / 256);
	assert_a_kilobyte(before, false, "whose mail waits");
	assert_int_equal(rig_groups(), GROUPS);
	assert_int_equal(rig_open_now(), 1);
	each_has_a_deferral(r);
	assert_a_kilobyte(before, false, "with results");
	memset(reply, 'x', sizeof reply - 1);
	for (unsigned i = 0; i < GROUPS; i++)
		thr_backoff_begin(r[i]->group, reply, 60000);
	assert_a_kilobyte(before, true, "in backoff");
	bed_advance(60000);
	each_has_a_deferral(r);
	assert_int_equal(r[GROUPS - 1]->group->backoff->state, THR_RECOVERY);
	assert_a_kilobyte(before, true, "in recovery");
	for (unsigned i = 0; i < GROUPS; i++)
		thr_backoff_end(r[i]->group);
	thr->recall(ga_worker_get(0), NULL, NULL);
	bed_turns(3 * GROUPS / 256);
	assert_int_equal(recalled, GROUPS - 1);
	end_all(false);
	for (unsigned i = 0; i < GROUPS; i++)
		ga_route_unref(r[i]);
	bed_advance(24 * 3600 * 1000);
	bed_turns(3 * GROUPS / 256);
	free(r);
	free(t);
	down();
}

static void
test_groups_share_what_the_settings_say_alike(void **state)
{
	const struct thr_loop *l;
	struct ga_route *r[3];

	(void)state;
	up("general {\n  max_concurrent_connections 3\n}\n", 1);
	l = thr_loop(ga_worker_get(0));
	for (unsigned i = 0; i < 3; i++) {
		static const char *const keys[] = { "1,a.example", "1,b.example", "1,c.example" };

		if (i == 2)
			bed_reload("general {\n  max_concurrent_connections 4\n}\n");
		r[i] = rig_route(keys[i]);
		put(r[i], i + 1, 1);
		bed_turns(5);
	}
	assert_ptr_equal(r[0]->group->terms, r[1]->group->terms);
	assert_int_equal(r[0]->group->terms->written.connections, 3);
	assert_int_equal(r[2]->group->terms->written.connections, 4);
	assert_int_equal(HASH_COUNT(l->terms), 2);
	for (unsigned i = 0; i < 3; i++)
		ga_route_unref(r[i]);
	end_all(false);
	bed_turns(10);
	assert_int_equal(HASH_COUNT(l->terms), 0);
	down();
}

/* --- rates --- */

#define EACH_MS 10000			/* the most that a test of rates looks at */

/* Moves time on by ms; every batch ends in the turn in which it began, and the connection
 * is kept.  at[i]: recipients in millisecond i. */
static unsigned
run_ms(unsigned ms, unsigned *at)
{
	unsigned all = successes;

	for (unsigned i = 0; i < ms; i++) {
		unsigned before = successes;

		bed_advance(1);
		for (unsigned n = nbatches, was = n + 1; n != was; n = nbatches) {
			was = n;
			end_all(true);
			nbatches = nbatches > 1000 ? 0 : nbatches;
		}
		if (at != NULL)
			at[i] = successes - before;
	}
	return successes - all;
}

static unsigned
most_in_window(const unsigned *at, unsigned n, unsigned window)
{
	unsigned sum = 0, most = 0;

	for (unsigned i = 0; i < n; i++) {
		sum += at[i];
		sum -= i >= window ? at[i - window] : 0;
		most = sum > most ? sum : most;
	}
	return most;
}

static void
backlog(struct ga_route *r, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		put(r, i / 10 + 1, i % 3);
	bed_turns(10);
}

static void
end_backlog(struct ga_route *r)
{
	thr->recall(ga_worker_get(0), NULL, NULL);
	bed_turns(10);
	ga_route_unref(r);
	bed_turns(10);
	run_ms(5, NULL);
	for (unsigned w = 0; w < ga_worker_count(); w++)
		while (rig_close_idle(NULL, ga_worker_get(w)))
			;
	bed_turns(10);
	bed_advance(24 * 3600 * 1000);
	bed_turns(10);
	down();
}

static void
test_one_rate_in_three_units_is_one_limit(void **state)
{
	static const char *const same[] = { "50/s", "3000/min", "180000/hr" };
	char conf[128];

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		static unsigned at[EACH_MS];
		struct ga_route *r;

		snprintf(conf, sizeof conf, "general {\n  max_delivery_rate %s\n}\n", same[i]);
		up(conf, 1);
		r = rig_route("ip1pd1");
		backlog(r, 3000);
		assert_in_range(run_ms(EACH_MS, at), 485, 501);
		assert_in_range(most_in_window(at, EACH_MS, 1000), 50, 51);	/* smooth */
		assert_in_range(most_in_window(at, EACH_MS, 100), 5, 6);
		end_backlog(r);
	}
}

static void
test_a_rate_of_many_a_millisecond_is_exact(void **state)
{
	struct ga_route *r;

	(void)state;
	up("general {\n  max_delivery_rate 17000/s\n}\n", 1);
	r = rig_route("ip1pd1");
	backlog(r, 20000);
	assert_in_range(run_ms(1000, NULL), 16980, 17001);
	end_backlog(r);
}

static void
test_a_slow_rate_wakes_nobody_in_between(void **state)
{
	struct ga_route *r;

	(void)state;
	up("general {\n  max_delivery_rate 6/min\n}\n", 1);
	r = rig_route("ip1pd1");
	backlog(r, 100);
	end_all(true);
	assert_int_equal(successes, 1);
	assert_true(r->group->wake_us > ga_mono_us() + 9000000);
	bed_advance(9998);
	end_all(true);
	assert_int_equal(successes, 1);
	bed_advance(4);
	end_all(true);
	assert_int_equal(successes, 2);
	end_backlog(r);
}

static void
test_a_burst_is_saved_up_and_spent_once(void **state)
{
	static unsigned at[EACH_MS];
	struct ga_route *r;

	(void)state;
	up("general {\n  max_delivery_rate 10/s\n  max_delivery_burst 25\n}\n", 1);
	r = rig_route("ip1pd1");
	backlog(r, 1);
	run_ms(10, NULL);
	bed_advance(60000);
	backlog(r, 500);
	end_all(true);				/* batches of one message, ten at most */
	run_ms(5000, at);
	assert_in_range(successes, 1 + 25 + 49, 1 + 25 + 51);
	assert_true(most_in_window(at, 5000, 1000) <= 10 + 25);
	end_backlog(r);
}

static void
test_a_new_group_has_one_delivery_and_no_burst(void **state)
{
	struct ga_route *r;

	(void)state;
	up("general {\n  max_delivery_rate 100/s\n}\n", 1);
	r = rig_route("ip1pd1");
	backlog(r, 500);
	end_all(true);
	end_all(true);
	assert_int_equal(successes, 1);
	end_backlog(r);
}

static void
test_a_group_made_again_has_no_new_allowance(void **state)
{
	struct ga_route *r;

	(void)state;
	up("general {\n  max_delivery_rate 1/hr\n}\n", 1);
	for (unsigned i = 0; i < 5; i++) {
		r = rig_route("ip1pd1");
		put(r, i + 1, 1);
		bed_turns(10);
		end_all(false);
		thr->recall(ga_worker_get(0), NULL, NULL);
		bed_turns(10);
		ga_route_unref(r);
		bed_turns(10);
	}
	assert_int_equal(successes, 1);
	assert_int_equal(rig_groups(), 1);		/* kept, for what it has used */
	bed_advance(3600 * 1000 + 1);
	bed_turns(10);
	assert_int_equal(rig_groups(), 0);
	down();
}

static void
test_a_raised_rate_acts_on_what_waits(void **state)
{
	struct ga_route *r;

	(void)state;
	up("general {\n  max_delivery_rate 1/hr\n}\n", 1);
	r = rig_route("ip1pd1");
	backlog(r, 1000);
	end_all(true);
	assert_int_equal(run_ms(1000, NULL), 0);
	bed_reload("general {\n  max_delivery_rate 100/s\n}\n");
	bed_turns(10);
	assert_in_range(run_ms(2000, NULL), 195, 201);
	bed_reload("general {\n  max_delivery_rate 10/s\n}\n");
	bed_turns(10);
	assert_in_range(run_ms(2000, NULL), 19, 31);
	end_backlog(r);
}

static void
test_connections_are_opened_at_their_rate(void **state)
{
	struct ga_route *r;

	(void)state;
	up("general {\n  max_connection_rate 2/s\n}\n", 1);
	r = rig_route("ip1pd1");
	backlog(r, 1000);
	assert_int_equal(opened, 1);
	for (unsigned i = 0; i < 1000; i++) {
		bed_advance(10);
		end_all(false);			/* each is closed after its batch */
	}
	assert_in_range(opened, 20, 22);
	end_backlog(r);
}

static void
test_a_send_takes_turns_with_another_of_the_same_sender(void **state)
{
	struct ga_route *r;
	struct ga_ticket *t;

	(void)state;
	up("general {\n  max_concurrent_connections 1\n}\n", 1);
	r = rig_route("ip1pd1");
	for (unsigned i = 0; i < 100; i++)
		put(r, i + 1, 1);
	t = new_ticket(ga_worker_get(0), r, 5000, 1);
	t->send_key = 7;
	thr->enqueue(ga_worker_get(0), t);
	bed_turns(10);
	end_all(true);
	end_all(true);
	assert_true(batches[1].seq == 5000 || batches[2].seq == 5000);
	end_backlog(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_max_concurrent_connections_is_never_exceeded),
		cmocka_unit_test(test_the_limit_of_the_system_is_exact_over_groups_and_loops),
		cmocka_unit_test(test_who_waits_for_a_slot_is_woken),
		cmocka_unit_test(test_one_mail_is_served_before_another_senders_thousand),
		cmocka_unit_test(test_a_batch_is_of_one_message_and_no_longer_than_asked_for),
		cmocka_unit_test(test_recall_gives_back_what_waits_and_nothing_else),
		cmocka_unit_test(test_a_recall_overtakes_no_ticket_that_is_on_its_way),
		cmocka_unit_test(test_a_recall_of_a_hundred_thousand_goes_in_slices),
		cmocka_unit_test(test_deliveries_during_a_recall_lose_nothing),
		cmocka_unit_test(test_what_comes_back_during_a_recall_is_left),
		cmocka_unit_test(test_next_closed_and_ended_keep_the_counts),
		cmocka_unit_test(test_a_lowered_limit_takes_connections_away_and_a_raised_one_adds),
		cmocka_unit_test(test_a_group_takes_a_kilobyte_at_most_in_every_state),
		cmocka_unit_test(test_groups_share_what_the_settings_say_alike),
		cmocka_unit_test(test_one_rate_in_three_units_is_one_limit),
		cmocka_unit_test(test_a_rate_of_many_a_millisecond_is_exact),
		cmocka_unit_test(test_a_slow_rate_wakes_nobody_in_between),
		cmocka_unit_test(test_a_burst_is_saved_up_and_spent_once),
		cmocka_unit_test(test_a_new_group_has_one_delivery_and_no_burst),
		cmocka_unit_test(test_a_group_made_again_has_no_new_allowance),
		cmocka_unit_test(test_a_raised_rate_acts_on_what_waits),
		cmocka_unit_test(test_connections_are_opened_at_their_rate),
		cmocka_unit_test(test_a_send_takes_turns_with_another_of_the_same_sender),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
