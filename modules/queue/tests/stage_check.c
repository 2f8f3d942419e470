/*
 * stage_check.c - is what the queue believes of itself true?
 *
 * Every list, link, sum and counter of each loop is compared with a recount from the
 * messages up.  For tests, between two turns of the loops.
 */
#include <stdlib.h>
#include <string.h>

#include "stage.h"

struct recount {
	struct q_loop *l;
	uint64_t messages, committing, envelopes, ram, bounce, disk, failed, waiting, out, paused;
	uint64_t laned, heaped;
	uint32_t *name_refs;
};

static void
by_age(struct recount *r, const struct q_message *m, const struct q_envelope *e)
{
	if (e->attempts > 0)
		r->disk++;
	else if (m->bounce)
		r->bounce++;
	else
		r->ram++;
}

static void
check_heaped(struct recount *r, uint32_t envelope)
{
	const struct q_envelope *e = q_envelope(r->l, envelope);

	r->heaped++;
	assert_in_range(e->heap_at, 1, r->l->nheap);
	assert_int_equal(r->l->heap[e->heap_at - 1], envelope);
}

static void
count_envelope(struct recount *r, const struct q_message *m, uint32_t envelope)
{
	const struct q_envelope *e = q_envelope(r->l, envelope);

	r->envelopes++;
	r->name_refs[e->domain]++;
	if (e->state == Q_ENDED) {
		assert_true((e->flags & GA_ENV_FAILED) != 0);
		r->failed++;
		assert_int_equal(e->heap_at, 0);
		return;
	}
	assert_int_equal(e->flags & (GA_ENV_FAILED | GA_ENV_DONE), 0);
	by_age(r, m, e);
	if (e->state == Q_TIMED || e->state == Q_PAUSED || e->state == Q_HELD)
		check_heaped(r, envelope);
	else
		assert_int_equal(e->heap_at, 0);
	switch ((enum q_state)e->state) {
	case Q_LANED:
		r->laned++;
		r->waiting++;
		break;
	case Q_TIMED:
		r->waiting++;
		break;
	case Q_OUT:
		r->out++;
		break;
	case Q_PAUSED:
	case Q_HELD:
		r->paused++;
		break;
	case Q_FREE:
	case Q_COMMITTING:
	case Q_ENDED:
		fail_msg("an envelope in state %u", e->state);
	}
}

static void
count_message(struct recount *r, uint32_t message)
{
	const struct q_message *m = q_message(r->l, message);
	uint32_t n = 0, never_tried = 0;

	if (m->state == Q_COMMITTING) {
		r->committing++;
		return;
	}
	r->messages++;
	r->name_refs[m->virtual_mta]++;
	r->name_refs[m->sender]++;
	r->name_refs[m->from]++;
	r->name_refs[m->send]++;
	for (uint32_t i = m->envelopes; i != 0; i = q_envelope(r->l, i)->next) {
		assert_int_equal(q_envelope(r->l, i)->message, message);
		count_envelope(r, m, i);
		never_tried += q_envelope(r->l, i)->attempts == 0 && q_envelope(r->l, i)->state != Q_ENDED;
		n++;
	}
	assert_true(n > 0);
	assert_int_equal(m->nlive, n);
	/* the body stays in memory for first attempts alone */
	assert_true(m->first_attempts >= never_tried);
	assert_true(m->live == NULL || m->first_attempts > 0);
}

/* Each message is found by its id (of those that share one by luck, one of them). */
static void
check_ids(struct q_loop *l)
{
	uint32_t n = 0;

	for (uint32_t b = 0; b <= l->id_mask; b++)
		for (uint32_t i = l->ids[b]; i != 0; i = q_message(l, i)->id_next) {
			uint32_t found = q_id_find(l, q_message(l, i)->id);

			assert_int_equal(q_message(l, found)->id, q_message(l, i)->id);
			n++;
		}
	assert_int_equal(n, l->nids);
}

static void
check_heap(struct q_loop *l)
{
	for (uint32_t i = 1; i < l->nheap; i++)
		assert_true(q_envelope(l, l->heap[(i - 1) / 4])->due_ms <= q_envelope(l, l->heap[i])->due_ms);
	if (l->nheap > 0 && !l->draining)
		assert_true(ga_timer_armed(l->timer));
}

static void
check_lane(struct q_loop *l, const struct q_lane *lane)
{
	uint32_t n = 0, last = 0;

	for (uint32_t i = lane->first; i != 0; i = q_envelope(l, i)->lane_next) {
		const struct q_envelope *e = q_envelope(l, i);
		const struct q_message *m = q_message(l, e->message);

		assert_int_equal(e->state, Q_LANED);
		assert_int_equal(lane->key.domain, e->domain);
		assert_int_equal(lane->key.virtual_mta, m->virtual_mta);
		assert_int_equal(lane->key.sender, m->sender);
		assert_int_equal(lane->key.send, m->send);
		last = i;
		n++;
	}
	assert_int_equal(lane->n, n);
	assert_int_equal(lane->last, last);
	assert_in_range(lane->out, 0, 200);
	assert_false(lane->running);
	/* it lives for something, and never stands still with room to run */
	assert_true(lane->n + lane->out > 0 || lane->posted);
	assert_true(lane->n == 0 || lane->out == 200 || lane->posted || l->draining);
}

static void
check_lanes(struct recount *r)
{
	struct q_lane *lane, *tmp;
	uint64_t waiting = 0, out = 0, attempts = 0;

	HASH_ITER(hh, r->l->lanes, lane, tmp) {
		check_lane(r->l, lane);
		waiting += lane->n;
		out += lane->out;
	}
	for (struct q_attempt *a = r->l->out; a != NULL; a = a->next) {
		assert_int_equal(q_envelope(r->l, a->envelope)->state, Q_OUT);
		attempts++;
	}
	assert_int_equal(waiting, r->laned);
	assert_int_equal(out, r->out);
	assert_int_equal(attempts, r->out);
}

static void
check_names(const struct recount *r)
{
	uint32_t n = 0;

	for (uint32_t i = 1; i < r->l->nnames; i++) {
		const struct q_name *name = r->l->name_of[i];

		assert_int_equal(name != NULL ? name->refs : 0, r->name_refs[i]);
		n += name != NULL;
	}
	assert_int_equal(n, HASH_COUNT(r->l->names));
}

static void
check_counters(const struct recount *r)
{
	struct q_counts *c = &r->l->counts;

	assert_int_equal(c->messages, r->messages);
	assert_int_equal(r->l->nids, r->messages + r->committing);
	assert_int_equal(c->envelopes, r->envelopes);
	assert_int_equal(c->ram, r->ram);
	assert_int_equal(c->bounce, r->bounce);
	assert_int_equal(c->disk, r->disk);
	assert_int_equal(c->failed, r->failed);
	assert_int_equal(c->waiting, r->waiting);
	assert_int_equal(c->out, r->out);
	assert_int_equal(c->paused, r->paused);
	assert_int_equal(r->l->nheap, r->heaped);
	/* every envelope is doing exactly one thing */
	assert_int_equal(r->envelopes, r->waiting + r->out + r->paused + r->failed);
	assert_int_equal(r->envelopes, r->ram + r->bounce + r->disk + r->failed);
}

static int64_t
number(struct json_object *o, const char *key)
{
	struct json_object *v;

	assert_true(json_object_object_get_ex(o, key, &v));
	return json_object_get_int64(v);
}

static void
check_status(void)
{
	struct json_object *all = stage_status(), *o;
	struct ga_queue_stats s = stage_stats();

	assert_true(json_object_object_get_ex(all, "queue", &o));
	assert_int_equal(number(o, "messages"), s.messages);
	assert_int_equal(number(o, "envelopes"), s.envelopes);
	assert_int_equal(number(o, "ram"), s.ram);
	assert_int_equal(number(o, "bounce"), s.bounce);
	assert_int_equal(number(o, "disk"), s.disk);
	assert_int_equal(number(o, "failed"), s.failed);
	assert_int_equal(number(o, "waiting"), s.waiting);
	assert_int_equal(number(o, "in_flight"), s.in_flight);
	assert_int_equal(number(o, "paused"), s.paused);
	assert_int_equal(number(o, "toolong_total"), s.toolong_total);
	assert_true(json_object_object_get_ex(all, "paused", &o) == (s.paused > 0));
	json_object_put(all);
}

void
stage_check(void)
{
	struct recount r = { .l = q_loop(ga_worker_get(0)) };
	struct q_loop *l = r.l;
	struct ga_queue_stats s = stage_stats();
	uint32_t chained = 0;

	r.name_refs = ga_xcalloc(l->nnames + 1, sizeof *r.name_refs);
	for (uint32_t b = 0; b <= l->id_mask; b++)
		for (uint32_t i = l->ids[b]; i != 0; i = q_message(l, i)->id_next, chained++)
			count_message(&r, i);
	check_ids(l);
	check_heap(l);
	check_lanes(&r);
	check_names(&r);
	check_counters(&r);
	free(r.name_refs);
	assert_int_equal(s.envelopes, r.envelopes);
	assert_int_equal(s.in_flight, r.out);
	check_status();
}
